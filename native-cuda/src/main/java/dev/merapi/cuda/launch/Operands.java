// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.launch;

import dev.merapi.cuda.runtime.Arguments;
import dev.merapi.op.tree.RecordType;
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
public final class Operands {
    /** What stands for an operand that is not there. */
    public enum Missing {
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

    public Map<String, Object> values() {
        return values;
    }

    public boolean isWritten(String name) {
        return written.contains(name);
    }

    /** Whether a plain value might be missing. */
    public boolean isOptional(String name) {
        return optionalPlain.contains(name);
    }

    /** An output: holds nothing yet. */
    public void output(String name, @Nullable Tensor t) {
        put(name, t == null ? Missing.OUTPUT : t);
        written.add(name);
        fresh.add(name);
    }

    /** Outputs that make a list. */
    public void outputs(String name, List<Tensor> all) {
        put(name, all);
        written.add(name);
        fresh.add(name);
    }

    /** All of another's. */
    public void add(Operands others) {
        others.values.forEach(this::put);
        optionalPlain.addAll(others.optionalPlain);
    }

    /** An op that returns what it writes has one tensor under one name for both; else names differ, as CudaNames sees to. */
    private void put(String name, Object value) {
        Object before = values.putIfAbsent(name, value);
        if (before != null && before != value) {
            throw new IllegalStateException("two operands are called " + name + "; please report this");
        }
    }

    /** A tensor, a list of tensors or a plain value; null for an absent tensor. */
    public void input(String name, @Nullable Object value) {
        put(name, value == null ? Missing.TENSOR : value);
    }

    /** The components of a record; those of nested ones with both names. */
    public void record(Record record, Set<String> mutated) {
        record("", record, mutated, false);
    }

    private void record(String prefix, Record record, Set<String> mutated, boolean within) {
        RecordType type = RecordType.of(record.getClass(), null);
        for (int i = 0; i < type.size(); i++) {
            String name = prefix + type.name(i);
            Object value = type.get(record, i);
            Object plain = value instanceof Optional<?> o ? o.orElse(null) : value;
            if (plain instanceof Record nested) {
                record(name + "_", nested, Set.of(), within || mutated.contains(name));
                continue;
            }
            boolean tensors = holdsTensors(type.component(i));
            boolean wrapped = value instanceof Optional<?>;
            boolean primitive = type.component(i).getType().isPrimitive();
            if (!tensors && (wrapped || plain == null || isNullable(type.component(i))) && !primitive) {
                optionalPlain.add(name);
            }
            if (tensors && (within || mutated.contains(name))) {
                written.add(name);
                fresh.remove(name);
            }
            put(name, plain != null ? plain : tensors ? Missing.TENSOR : Missing.PLAIN);
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
    public Object find(String name) {
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
    public static List<Tensor> tensors(@Nullable Object value) {
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
    public void regions(Arguments a) {
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
    public void filled(String name) {
        fresh.remove(name);
    }
}
