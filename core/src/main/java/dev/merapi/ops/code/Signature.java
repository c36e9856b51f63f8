// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops.code;

import dev.merapi.error.Message;
import dev.merapi.error.SchemaException;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Param;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * What an op of an expression takes: tensors, which are {@code x}, {@code y}, {@code z} or a list, and named scalars.
 *
 * @param inputs number of tensors
 * @param scalars the names of the scalars, in order
 */
public record Signature(int inputs, List<String> scalars) {
    private static final List<String> TENSORS = List.of("x", "y", "z");
    /** Names that arguments beside the scalars have. */
    private static final Set<String> TAKEN = Set.of("x", "y", "z", "inputs", "scalars", "dims", "keepDim", "dtype");

    public static Signature of(String op, int inputs, List<Param> params) {
        List<String> names = params.stream().map(Param::name).toList();
        Set<String> seen = new HashSet<>(TAKEN);
        for (String name : names) {
            if (!name.matches("[A-Za-z_][A-Za-z0-9_]*")) {
                throw new SchemaException(Message.of(op + ": the scalar '" + name + "' has no proper name")
                        .fix("letters, digits and _, not beginning with a digit."));
            }
            if (!seen.add(name)) {
                throw new SchemaException(Message.of(op + ": a second argument of the name '" + name + "'")
                        .fact("scalars", names)
                        .fix("give each scalar a name of its own, other than " + String.join(", ", TENSORS)));
            }
        }
        return new Signature(inputs, names);
    }

    /** Scalars that nobody has named: {@code s0}, {@code s1}, … */
    public static List<Param> unnamed(int scalars) {
        return IntStream.range(0, scalars).mapToObj(i -> Param.scalar("s" + i)).toList();
    }

    /** The same scalars beside another number of tensors. */
    public Signature beside(int tensors) {
        return new Signature(tensors, scalars);
    }

    /** For {@code Op.define}: the scalars are passed, and shown, by their names. */
    public Map<String, List<String>> elements() {
        return Map.of("scalars", scalars);
    }

    /** @throws ShapeException if there are more operands than the op takes, or fewer */
    public void require(String op, int tensors, int values) {
        if (tensors != inputs || values != scalars.size()) {
            throw new ShapeException(Message.of(op + ": takes " + this + ", but got " + count(tensors, "tensor")
                            + " and " + count(values, "scalar"))
                    .fix("pass as many as its expression has."));
        }
    }

    private static String count(int n, String what) {
        return n + " " + what + (n == 1 ? "" : "s");
    }

    /** {@code x, y and beta}. */
    @Override
    public String toString() {
        List<String> all = new ArrayList<>(
                inputs >= 1 && inputs <= TENSORS.size()
                        ? TENSORS.subList(0, inputs)
                        : List.of(count(inputs, "tensor")));
        all.addAll(scalars);
        int last = all.size() - 1;
        return last == 0 ? all.get(0) : String.join(", ", all.subList(0, last)) + " and " + all.get(last);
    }
}
