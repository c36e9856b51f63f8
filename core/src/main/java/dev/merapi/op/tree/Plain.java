// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op.tree;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Values without tensors: which classes they are of, and copies of those that somebody else could change. */
public final class Plain {
    private static final Set<Class<?>> KNOWN =
            Set.of(String.class, Boolean.class, Character.class, Shape.class, Layout.class, Device.class, Class.class);

    // What lists of List.of and its like are of: they never change.
    private static final Class<?> SHORT_LIST = List.of(1).getClass();
    private static final Class<?> LIST = List.of(1, 2, 3).getClass();

    private static final ClassValue<Optional<String>> HIDING = new ClassValue<>() {
        @Override
        protected Optional<String> computeValue(Class<?> type) {
            return Optional.ofNullable(hiding(type, new HashSet<>()));
        }
    };

    private Plain() {}

    static boolean isKnown(Class<?> c) {
        return c.isPrimitive()
                || KNOWN.contains(c)
                || Number.class.isAssignableFrom(c)
                || Enum.class.isAssignableFrom(c);
    }

    /** Where a value of this class could have a tensor that no walk over it would find; null for nowhere. */
    static @Nullable String couldHold(Class<?> type) {
        return isKnown(type) ? null : HIDING.get(type).orElse(null);
    }

    private static @Nullable String hiding(Class<?> type, Set<Class<?>> seen) {
        for (Class<?> c = type; c != null && c != Object.class; c = c.getSuperclass()) {
            Field[] fields;
            try {
                fields = c.getDeclaredFields();
            } catch (LinkageError e) { // a class that one of them is of is not there
                return "its fields cannot be read";
            }
            for (Field field : fields) {
                if (Modifier.isStatic(field.getModifiers())) {
                    continue;
                }
                Class<?> held = field.getType();
                while (held.isArray()) {
                    held = held.getComponentType();
                }
                if (isKnown(held) || !seen.add(held)) {
                    continue;
                }
                boolean open = held == Tensor.class || held == Object.class || held.isInterface();
                if (open || hiding(held, seen) != null) {
                    return "its field " + field.getName() + " is a "
                            + field.getType().getTypeName();
                }
            }
        }
        return null;
    }

    /** Whether a list is one that nobody can change, as those of {@code List.of} are. */
    static boolean isImmutable(List<?> list) {
        Class<?> c = list.getClass();
        return c == SHORT_LIST || c == LIST;
    }

    /** Whether a plain argument is not there, or a list of such is not there in part. */
    public static boolean isAbsent(@Nullable Object value) {
        if (!(value instanceof List<?> list)) {
            return value == null;
        }
        for (int i = 0, n = list.size(); i < n; i++) {
            if (list.get(i) == null) {
                return true;
            }
        }
        return false;
    }

    /** The same value, but an array or a list of plain values as a copy that nobody else has. */
    public static @Nullable Object own(@Nullable Object value) {
        if (value instanceof List<?> list) {
            return isImmutable(list)
                    ? list
                    : Collections.unmodifiableList(
                            Arrays.asList(list.stream().map(Plain::own).toArray()));
        }
        if (value instanceof Optional<?> optional) {
            return optional.isEmpty() ? optional : Optional.ofNullable(own(optional.get()));
        }
        if (value instanceof long[] a) {
            return a.clone();
        }
        if (value instanceof int[] a) {
            return a.clone();
        }
        if (value instanceof double[] a) {
            return a.clone();
        }
        if (value instanceof float[] a) {
            return a.clone();
        }
        if (value instanceof boolean[] a) {
            return a.clone();
        }
        if (value instanceof byte[] a) {
            return a.clone();
        }
        if (value instanceof short[] a) {
            return a.clone();
        }
        return value instanceof char[] a ? a.clone() : value;
    }
}
