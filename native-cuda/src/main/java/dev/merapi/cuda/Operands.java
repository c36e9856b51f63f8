// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.op.RecordType;
import dev.merapi.tensor.Tensor;
import java.lang.reflect.RecordComponent;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** What a custom kernel is called with, by name: tensors, lists of tensors, and plain values. */
final class Operands {
    /** What stands for an operand that is not there. */
    enum Missing {
        /** An optional tensor. */
        TENSOR,
        /** An output that nobody wants. */
        OUTPUT,
        /** An optional plain value. */
        PLAIN
    }

    private final Map<String, Object> values = new LinkedHashMap<>();
    private final Set<String> written = new LinkedHashSet<>();
    private final Set<String> fresh = new HashSet<>();
    private final Set<String> optionalPlain = new HashSet<>();

    Map<String, Object> values() {
        return values;
    }

    boolean isWritten(String name) {
        return written.contains(name);
    }

    /** Whether a plain value might be missing. */
    boolean isOptional(String name) {
        return optionalPlain.contains(name);
    }

    /** An output: holds nothing yet. */
    void output(String name, @Nullable Tensor t) {
        values.put(name, t == null ? Missing.OUTPUT : t);
        written.add(name);
        fresh.add(name);
    }

    /** Outputs that make a list. */
    void outputs(String name, List<Tensor> all) {
        values.put(name, all);
        written.add(name);
        fresh.add(name);
    }

    /** What others have that this does not. */
    void add(Operands others) {
        others.values.forEach(values::putIfAbsent);
        optionalPlain.addAll(others.optionalPlain);
    }

    /** A tensor, a list of tensors or a plain value; null for an absent tensor. */
    void input(String name, @Nullable Object value) {
        // An op that returns what it writes has one tensor under two names, or one name for both.
        values.put(name, value == null ? Missing.TENSOR : value);
    }

    /** The components of a record; those of nested ones with both names. */
    void record(String prefix, Record record, Set<String> mutated) {
        RecordType type = RecordType.of(record.getClass(), null);
        for (int i = 0; i < type.size(); i++) {
            String name = prefix + type.name(i);
            Object value = type.get(record, i);
            Object plain = value instanceof Optional<?> o ? o.orElse(null) : value;
            if (plain instanceof Record nested) {
                record(name + "_", nested, mutated);
                continue;
            }
            boolean tensors = holdsTensors(type.component(i));
            boolean wrapped = value instanceof Optional<?>;
            boolean primitive = type.component(i).getType().isPrimitive();
            if (!tensors && (wrapped || plain == null || isNullable(type.component(i))) && !primitive) {
                optionalPlain.add(name);
            }
            if (mutated.contains(name)) {
                written.add(name);
                fresh.remove(name);
            }
            values.put(name, plain != null ? plain : tensors ? Missing.TENSOR : Missing.PLAIN);
        }
    }

    private static boolean holdsTensors(RecordComponent c) {
        return c.getGenericType().getTypeName().contains(Tensor.class.getName());
    }

    private static boolean isNullable(RecordComponent c) {
        return Arrays.stream(c.getAnnotatedType().getAnnotations())
                .anyMatch(a -> a.annotationType().getSimpleName().equals("Nullable"));
    }

    /** A tensor by the name of an operand, or of an element of a list: {@code xs[1]}. */
    @Nullable
    Object find(String name) {
        int bracket = name.indexOf('[');
        if (bracket < 0 || !name.endsWith("]")) {
            return values.get(name);
        }
        if (values.get(name.substring(0, bracket)) instanceof List<?> list
                && name.substring(bracket + 1, name.length() - 1).matches("\\d{1,6}")) {
            int at = Integer.parseInt(name.substring(bracket + 1, name.length() - 1));
            return at < list.size() ? list.get(at) : null;
        }
        return null;
    }

    /** The tensors of a value; empty if it holds none, or is no list of tensors. */
    static List<Tensor> tensors(@Nullable Object value) {
        if (value instanceof Tensor t) {
            return List.of(t);
        }
        List<Tensor> all = new ArrayList<>();
        if (value instanceof List<?> list) {
            for (Object e : list) {
                if (e instanceof Tensor t) {
                    all.add(t);
                }
            }
        }
        return all;
    }

    /** Tells the checks what the kernel may read and write. */
    void regions(Arguments a) {
        Set<Long> kept = new HashSet<>();
        values.forEach((name, value) -> {
            if (!fresh.contains(name)) {
                tensors(value).forEach(t -> kept.add(t.address()));
            }
        });
        values.forEach((name, value) -> {
            List<Tensor> all = tensors(value);
            for (int i = 0; i < all.size(); i++) {
                Tensor t = all.get(i);
                boolean isFresh = fresh.contains(name) && !kept.contains(t.address()) && t.isContiguous();
                a.region(value instanceof Tensor ? name : name + "[" + i + "]", t, written.contains(name), isFresh);
            }
        });
    }

    /** An output that was filled with zeros holds something. */
    void filled(String name) {
        fresh.remove(name);
    }
}
