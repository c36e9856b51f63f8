// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op.tree;

import dev.merapi.error.Message;
import dev.merapi.error.SavedTensorException;
import dev.merapi.error.SchemaException;
import dev.merapi.tensor.Tensor;
import java.lang.invoke.MethodHandles;
import java.util.AbstractMap;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Walks values in which tensors may stand: a tensor itself, lists, sets, maps (their values) and their entries, optionals,
 * arrays and records, nested at will. Anything else is a leaf and passes through by reference.
 */
public final class Tree {
    private final MethodHandles.@Nullable Lookup lookup;
    private final UnaryOperator<@Nullable Tensor> replacement;
    /** The op that keeps the tree beyond the call, and so must own and understand all of it; null for nobody. */
    private final @Nullable String keeper;

    private Tree(
            MethodHandles.@Nullable Lookup lookup,
            UnaryOperator<@Nullable Tensor> replacement,
            @Nullable String keeper) {
        this.lookup = lookup;
        this.replacement = replacement;
        this.keeper = keeper;
    }

    /**
     * A record that replaces its tensors itself, and owns its arrays: for those that are saved so often that taking them
     * apart would show.
     */
    public interface Branch {
        /** The same value with each tensor replaced. */
        Record map(UnaryOperator<@Nullable Tensor> replacement);
    }

    /** Visits each tensor in order; absent ones are skipped. */
    public static void forEach(@Nullable Object tree, MethodHandles.@Nullable Lookup lookup, Consumer<Tensor> visitor) {
        if (tree instanceof Tensor t) {
            visitor.accept(t);
        } else if (tree instanceof Branch b) {
            var unused = b.map(t -> {
                if (t != null) {
                    visitor.accept(t);
                }
                return t;
            });
        } else if (tree instanceof Record r) {
            RecordType type = RecordType.of(r.getClass(), lookup);
            for (int i = 0; i < type.size(); i++) {
                if (type.mayHoldTensors(i)) {
                    forEach(type.get(r, i), lookup, visitor);
                }
            }
        } else if (tree instanceof Collection<?> all) {
            for (Object element : all) {
                forEach(element, lookup, visitor);
            }
        } else if (tree instanceof Map<?, ?> map) {
            for (Object value : map.values()) {
                forEach(value, lookup, visitor);
            }
        } else if (tree instanceof Map.Entry<?, ?> entry) {
            forEach(entry.getValue(), lookup, visitor);
        } else if (tree instanceof Optional<?> optional) {
            forEach(optional.orElse(null), lookup, visitor);
        } else if (tree instanceof Object[] array) {
            for (Object element : array) {
                forEach(element, lookup, visitor);
            }
        }
    }

    /** The same tree with each tensor replaced; parts without tensors are shared with the original. */
    @SuppressWarnings({"unchecked", "NullAway"}) // null only for a tree that is null
    public static <T extends @Nullable Object> T map(
            T tree, MethodHandles.@Nullable Lookup lookup, UnaryOperator<@Nullable Tensor> replacement) {
        return (T) new Tree(lookup, replacement, null).mapped(tree);
    }

    /**
     * The same tree with each tensor replaced, for one who keeps it: arrays and lists are copied, so that nobody else can
     * change what is in them.
     *
     * @param keeper the op that saves it, named by errors
     * @throws SavedTensorException for a value that could hide a tensor, naming its class
     */
    @SuppressWarnings({"unchecked", "NullAway"}) // as above
    public static <T extends @Nullable Object> T keep(
            String keeper, T tree, MethodHandles.@Nullable Lookup lookup, UnaryOperator<@Nullable Tensor> replacement) {
        return tree == null ? tree : (T) new Tree(lookup, replacement, keeper).mapped(tree);
    }

    private @Nullable Object mapped(@Nullable Object tree) {
        if (tree instanceof Tensor t) {
            return replacement.apply(t);
        }
        if (tree instanceof Branch b) {
            return b.map(replacement);
        }
        if (tree instanceof Record r) {
            return record(r);
        }
        if (tree instanceof List<?> list) {
            @Nullable Object[] values = list.toArray();
            boolean changed = all(values);
            return changed || keeper != null && !Plain.isImmutable(list)
                    ? Collections.unmodifiableList(Arrays.asList(values))
                    : list;
        }
        if (tree instanceof Set<?> set) {
            @Nullable Object[] values = set.toArray();
            boolean changed = all(values);
            return changed || keeper != null
                    ? Collections.unmodifiableSet(new LinkedHashSet<>(Arrays.asList(values)))
                    : set;
        }
        if (tree instanceof Map<?, ?> map) {
            Map<Object, @Nullable Object> result = new LinkedHashMap<>();
            map.forEach((key, value) -> result.put(key(key), mapped(value)));
            return Collections.unmodifiableMap(result);
        }
        if (tree instanceof Map.Entry<?, ?> entry) {
            return new AbstractMap.SimpleImmutableEntry<>(key(entry.getKey()), mapped(entry.getValue()));
        }
        if (tree instanceof Optional<?> optional) {
            return optional.isEmpty() ? optional : Optional.ofNullable(mapped(optional.get()));
        }
        if (tree instanceof Object[] array) {
            return array(array);
        }
        return leaf(tree);
    }

    private Object record(Record r) {
        RecordType type = RecordType.of(r.getClass(), lookup);
        @Nullable Object[] values = type.values(r); // in one step: each takes longer than a component does
        boolean changed = false;
        for (int i = 0; i < values.length; i++) {
            if (type.mayHoldTensors(i) || keeper != null && type.mayChange(i)) {
                Object before = values[i];
                Object after = mapped(before);
                if (after != before) {
                    if (!type.component(i).getType().isInstance(after)) {
                        throw new SchemaException("record " + r.getClass().getName() + ": the engine replaces what is"
                                + " in its component " + type.name(i) + ", and cannot make a "
                                + type.component(i).getType().getName()
                                + "\n  fix: declare it as a List, Set, Map, Optional or array.");
                    }
                    values[i] = after;
                    changed = true;
                }
            }
        }
        return changed ? type.make(values) : r;
    }

    private boolean all(@Nullable Object[] values) {
        boolean changed = false;
        for (int i = 0; i < values.length; i++) {
            Object before = values[i];
            values[i] = mapped(before);
            changed |= values[i] != before;
        }
        return changed;
    }

    private @Nullable Object[] array(@Nullable Object[] array) {
        @Nullable Object[] result = keeper != null ? array.clone() : null;
        for (int i = 0; i < array.length; i++) {
            Object after = mapped(array[i]);
            if (after != array[i]) {
                result = result == null ? array.clone() : result;
                result[i] = after;
            }
        }
        return result == null ? array : result;
    }

    private @Nullable Object key(@Nullable Object key) {
        if (keeper != null) {
            forEach(key, lookup, t -> {
                throw new SavedTensorException(
                        keeper + ": saveForBackward: a tensor is the key of a map that is saved, " + t.describe()
                                + "\n  fix: let it be the value.");
            });
            return key == null ? null : leaf(key);
        }
        return key;
    }

    private @Nullable Object leaf(@Nullable Object leaf) {
        if (keeper == null || leaf == null) {
            return leaf;
        }
        String hiding = leaf instanceof Record ? null : Plain.couldHold(leaf.getClass());
        if (hiding != null) {
            throw new SavedTensorException(Message.of(keeper + ": saveForBackward: cannot save a "
                            + leaf.getClass().getName() + ", since a tensor in it would go unnoticed: " + hiding)
                    .fix("save a tensor, record, list, set, map, optional or array, or what holds no tensors."));
        }
        return Plain.own(leaf);
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
