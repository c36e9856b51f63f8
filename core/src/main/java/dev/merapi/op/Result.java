// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.error.OpResultException;
import dev.merapi.error.SchemaException;
import dev.merapi.tensor.Tensor;
import java.lang.invoke.MethodHandles;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The result type of an op: a tensor, a list of tensors, a record of tensors, lists of tensors and plain values, or
 * nothing. Tensors of a result are numbered in order, lists flattened: those numbers are the outputs of the graph node.
 *
 * @param <R> the result
 */
public final class Result<R> {
    private static final Result<Tensor> TENSOR = new Result<>(Form.TENSOR, null, null);
    private static final Result<List<Tensor>> TENSORS = new Result<>(Form.TENSORS, null, null);
    private static final Result<Void> NONE = new Result<>(Form.NONE, null, null);

    private enum Form {
        TENSOR,
        TENSORS,
        RECORD,
        PLAIN,
        NONE
    }

    private final Form form;
    private final @Nullable Schema schema;
    private final @Nullable Class<?> type;

    private Result(Form form, @Nullable Schema schema, @Nullable Class<?> type) {
        this.form = form;
        this.schema = schema;
        this.type = type;
    }

    /** {@return the result of an op that gives one tensor} */
    public static Result<Tensor> tensor() {
        return TENSOR;
    }

    /** {@return the result of an op that gives a list of tensors, whose length may differ from call to call} */
    public static Result<List<Tensor>> tensors() {
        return TENSORS;
    }

    /**
     * For ops that only write their arguments.
     *
     * @return a result that is always null
     */
    public static Result<Void> none() {
        return NONE;
    }

    /**
     * {@code Tensor.class}, a record class, or the class of a plain value (Long, Double, Boolean).
     *
     * @param <R> the result
     * @param type its class
     * @param lookup who may read the record; null for the public
     * @return a result
     * @throws SchemaException for anything else; a list of tensors is {@link #tensors()}
     */
    @SuppressWarnings("unchecked")
    public static <R> Result<R> of(Class<R> type, MethodHandles.@Nullable Lookup lookup) {
        if (Objects.requireNonNull(type, "result") == Tensor.class) {
            return (Result<R>) TENSOR;
        }
        if (type == Void.class) {
            return (Result<R>) NONE;
        }
        if (type.isRecord()) {
            Schema schema = Schema.of(type.asSubclass(Record.class), lookup);
            for (Schema.Argument a : schema.arguments()) {
                if (a.optional()
                        || a.optionalElements()
                        || a.kind() == Schema.Kind.RECORD
                        || a.type().equals("str")) {
                    throw new SchemaException("result " + type.getSimpleName() + ": component " + a.name()
                            + " may not be optional, a record or a string");
                }
            }
            return new Result<>(Form.RECORD, schema, type);
        }
        if (type == Long.class || type == Double.class || type == Boolean.class) {
            return new Result<>(Form.PLAIN, null, type);
        }
        throw new SchemaException("result type " + type.getName() + " is not supported"
                + "\n  allowed: Tensor, Result.tensors(), Result.none(), Long, Double, Boolean, or a record of tensors,"
                + " lists of tensors and plain values");
    }

    /**
     * {@code Tensor}, {@code List}, {@code Void}, or the class of the record or plain value.
     *
     * @return the class
     */
    public Class<?> type() {
        return switch (form) {
            case TENSOR -> Tensor.class;
            case TENSORS -> List.class;
            case NONE -> Void.class;
            case RECORD, PLAIN -> Objects.requireNonNull(type);
        };
    }

    /** {@return whether it is one tensor} */
    public boolean isTensor() {
        return form == Form.TENSOR;
    }

    boolean isList() {
        return form == Form.TENSORS;
    }

    /** {@return whether there is none} */
    public boolean isNone() {
        return form == Form.NONE;
    }

    /** True if the result is made of tensors alone or among other things. */
    boolean hasTensors() {
        return form == Form.TENSOR
                || form == Form.TENSORS
                || form == Form.RECORD
                        && !java.util.Objects.requireNonNull(schema)
                                .tensorNames()
                                .isEmpty();
    }

    /** Which of {@link #names} the tensor at {@code slot} belongs to; differs from it where lists are among them. */
    int declared(String op, R value, int slot) {
        if (form != Form.RECORD) {
            return 0;
        }
        Schema s = java.util.Objects.requireNonNull(schema);
        if (s.isSimple()) {
            return slot;
        }
        int[] counts = s.slotCounts(op, (Record) value);
        int end = 0;
        for (int i = 0; i < counts.length; i++) {
            end += counts[i];
            if (slot < end) {
                return i;
            }
        }
        throw new IndexOutOfBoundsException(op + ": output " + slot + " of " + end);
    }

    @Nullable
    Schema schema() {
        return schema;
    }

    /**
     * The tensors of a result in order.
     *
     * @param op its name, for messages
     * @param result of a call
     * @return a new array
     */
    @SuppressWarnings("unchecked")
    public @Nullable Tensor[] tensors(String op, @Nullable R result) {
        switch (form) {
            case TENSOR -> {
                if (!(result instanceof Tensor t)) {
                    throw wrong(op, result, "a Tensor");
                }
                return new Tensor[] {t};
            }
            case TENSORS -> {
                if (!(result instanceof List<?> list)) {
                    throw wrong(op, result, "a list of tensors");
                }
                for (Object element : list) {
                    if (!(element instanceof Tensor)) {
                        throw wrong(op, result, "a list of tensors");
                    }
                }
                return ((List<Tensor>) list).toArray(new Tensor[0]);
            }
            case RECORD -> {
                if (result == null) {
                    throw wrong(
                            op,
                            null,
                            "a " + java.util.Objects.requireNonNull(type).getSimpleName());
                }
                try {
                    return java.util.Objects.requireNonNull(schema).tensors(op, (Record) result);
                } catch (SchemaException e) {
                    throw new OpResultException(op + ": the result has an absent tensor: " + e.getMessage());
                }
            }
            default -> {
                return new Tensor[0];
            }
        }
    }

    /**
     * As {@link #tensors}, of what a {@link Jvp} gives for {@code result}: any tensor may be absent.
     *
     * @param op its name, for messages
     * @param result of the call
     * @param value in the form of the result
     * @return a new array, one element for each tensor of the result
     */
    public @Nullable Tensor[] tangents(String op, R result, @Nullable R value) {
        int count = tensors(op, result).length;
        if (value == null) {
            return new Tensor[count];
        }
        @Nullable
        Tensor[] all = switch (form) {
            case TENSOR -> new Tensor[] {(Tensor) value};
            case TENSORS -> ((List<?>) value).toArray(new Tensor[0]);
            case RECORD -> {
                Schema s = java.util.Objects.requireNonNull(schema);
                yield s.sparse((Record) value, s.slotCounts(op, (Record) result));
            }
            default -> new Tensor[0];
        };
        if (all.length != count) {
            throw new OpResultException(op + ": its jvp gave " + all.length + " tangents for " + count + " outputs");
        }
        return all;
    }

    private static OpResultException wrong(String op, @Nullable Object result, String expected) {
        return new OpResultException(op + ": the kernel or shape rule returned "
                + (result == null ? "null" : "a " + result.getClass().getName()) + " where " + expected
                + " was declared");
    }

    /**
     * The same result around other tensors; used for gradients too, where a tensor may be absent.
     *
     * @param result of a call
     * @param tensors one for each of its tensors
     * @return a value of the same class
     */
    @SuppressWarnings("unchecked")
    public @Nullable R rebuild(@Nullable R result, @Nullable Tensor[] tensors) {
        return switch (form) {
            case TENSOR -> (R) tensors[0];
            case TENSORS -> (R) Collections.unmodifiableList(Arrays.asList(tensors.clone()));
            case RECORD ->
                (R) java.util.Objects.requireNonNull(schema)
                        .rebuild((Record) java.util.Objects.requireNonNull(result), tensors);
            default -> result;
        };
    }

    /** What messages call tensor {@code slot}: {@code output}, {@code output[1]}, or the record's component. */
    String slotName(String op, R value, int slot) {
        if (form == Form.RECORD) {
            Schema s = java.util.Objects.requireNonNull(schema);
            return s.slotName(s.slotCounts(op, (Record) value), slot);
        }
        return form == Form.TENSORS ? "output[" + slot + "]" : "output";
    }

    /** Names of the outputs for messages, a list counted once: {@code output}, or the record's components. */
    List<String> names() {
        if (form == Form.RECORD) {
            return new ArrayList<>(java.util.Objects.requireNonNull(schema).tensorNames());
        }
        return form == Form.NONE || form == Form.PLAIN ? List.of() : List.of("output");
    }

    /** The right-hand side of the schema string. */
    @Override
    public String toString() {
        return switch (form) {
            case TENSOR -> "Tensor";
            case TENSORS -> "Tensor[]";
            case RECORD -> java.util.Objects.requireNonNull(schema).argumentText();
            case PLAIN -> java.util.Objects.requireNonNull(type).getSimpleName();
            case NONE -> "()";
        };
    }
}
