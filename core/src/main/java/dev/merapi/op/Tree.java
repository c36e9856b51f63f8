// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.tensor.Tensor;
import java.lang.invoke.MethodHandles;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Walks values in which tensors may stand: a tensor itself, lists, maps (their values), optionals, arrays of tensors and
 * records, nested at will. Anything else is a leaf and passes through by reference.
 */
public final class Tree {
    private Tree() {}

    /** A record that replaces its tensors itself: for those that are saved so often that taking them apart would show. */
    public interface Branch {
        /** The same value with each tensor replaced. */
        Record map(UnaryOperator<@Nullable Tensor> replacement);
    }

    /** Visits each tensor in order; absent ones are skipped. */
    public static void forEach(@Nullable Object tree, MethodHandles.@Nullable Lookup lookup, Consumer<Tensor> visitor) {
        if (tree instanceof Tensor t) {
            visitor.accept(t);
        } else if (tree instanceof Record r) {
            RecordType type = RecordType.of(r.getClass(), lookup);
            for (int i = 0; i < type.size(); i++) {
                if (type.mayHoldTensors(i)) {
                    forEach(type.get(r, i), lookup, visitor);
                }
            }
        } else if (tree instanceof List<?> list) {
            for (Object element : list) {
                forEach(element, lookup, visitor);
            }
        } else if (tree instanceof Map<?, ?> map) {
            for (Object value : map.values()) {
                forEach(value, lookup, visitor);
            }
        } else if (tree instanceof Optional<?> optional) {
            forEach(optional.orElse(null), lookup, visitor);
        } else if (tree instanceof Tensor[] array) {
            for (Tensor element : array) {
                forEach(element, lookup, visitor);
            }
        }
    }

    /** The same tree with each tensor replaced; parts without tensors are shared with the original. */
    @SuppressWarnings({"unchecked", "NullAway"}) // null only for a tree that is null
    public static <T extends @Nullable Object> T map(
            T tree, MethodHandles.@Nullable Lookup lookup, UnaryOperator<@Nullable Tensor> replacement) {
        return (T) mapped(tree, lookup, replacement);
    }

    private static @Nullable Object mapped(
            @Nullable Object tree, MethodHandles.@Nullable Lookup lookup, UnaryOperator<@Nullable Tensor> replacement) {
        if (tree instanceof Tensor t) {
            return replacement.apply(t);
        }
        if (tree instanceof Branch b) {
            return b.map(replacement);
        }
        if (tree instanceof Record r) {
            RecordType type = RecordType.of(r.getClass(), lookup);
            @Nullable Object[] values = type.values(r); // in one step: each takes longer than a component does
            boolean changed = false;
            for (int i = 0; i < values.length; i++) {
                if (type.mayHoldTensors(i)) {
                    Object before = values[i];
                    values[i] = mapped(before, lookup, replacement);
                    changed |= values[i] != before;
                }
            }
            return changed ? type.make(values) : r;
        }
        if (tree instanceof List<?> list) {
            @Nullable Object[] values = list.toArray();
            boolean changed = false;
            for (int i = 0; i < values.length; i++) {
                Object before = values[i];
                values[i] = mapped(before, lookup, replacement);
                changed |= values[i] != before;
            }
            return changed ? Collections.unmodifiableList(Arrays.asList(values)) : list;
        }
        if (tree instanceof Map<?, ?> map) {
            Map<Object, @Nullable Object> result = new LinkedHashMap<>();
            map.forEach((key, value) -> result.put(key, mapped(value, lookup, replacement)));
            return Collections.unmodifiableMap(result);
        }
        if (tree instanceof Optional<?> optional) {
            return optional.isEmpty() ? optional : Optional.ofNullable(mapped(optional.get(), lookup, replacement));
        }
        return tree instanceof Tensor[] array ? map(array, replacement) : tree;
    }

    /** The same array with each tensor replaced; null stays null. */
    public static @Nullable Tensor[] map(@Nullable Tensor[] array, UnaryOperator<@Nullable Tensor> replacement) {
        @Nullable Tensor[] result = null;
        for (int i = 0; i < array.length; i++) {
            if (array[i] != null) {
                result = result == null ? array.clone() : result;
                result[i] = replacement.apply(array[i]);
            }
        }
        return result == null ? array : result;
    }
}
