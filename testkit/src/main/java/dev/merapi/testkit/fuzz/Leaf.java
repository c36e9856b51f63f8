// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.Arrays;
import java.util.List;
import java.util.StringJoiner;
import org.jspecify.annotations.Nullable;

/**
 * A tensor from Java values, in some layout.
 *
 * @param values double[] for floating dtypes, else long[]; of an expanded one those of the dimensions that are not
 */
record Leaf(DType dtype, long[] shape, Form form, Object values, boolean wantsGrad) implements Callee {
    /** How its elements lie in memory; what lies between them is not 0. */
    enum Form {
        DENSE,
        /** Dimensions in reverse order. */
        TRANSPOSED,
        /** Every second element of the last dimension. */
        STRIDED,
        /** All but the first row. */
        OFFSET,
        /** The first dimension is one row, repeated. */
        EXPANDED
    }

    @Override
    public String name() {
        return "leaf";
    }

    /** The form that is possible for the shape. */
    static Form possible(Form wanted, long[] shape) {
        return switch (wanted) {
            case TRANSPOSED -> shape.length < 2 ? Form.DENSE : wanted;
            case STRIDED, OFFSET, EXPANDED -> shape.length < 1 ? Form.DENSE : wanted;
            case DENSE -> wanted;
        };
    }

    /** How many values there are. */
    static int count(Form form, long[] shape) {
        long n = 1;
        for (int d = form == Form.EXPANDED ? 1 : 0; d < shape.length; d++) {
            n *= shape[d];
        }
        return (int) n;
    }

    @Override
    public List<Tensor> call(Run run, @Nullable Object[] args) {
        Tensor t = make(run.wide() && dtype.isFloating() ? DType.FLOAT64 : dtype, run.device());
        return List.of(wantsGrad ? t.requiresGrad(true) : t);
    }

    private Tensor make(DType type, Device device) {
        Tensor base = Tensor.full(Shape.of(memory()), 77, type, device);
        Tensor seen = switch (form) {
            case DENSE -> base;
            case TRANSPOSED -> base.permute(reversed(shape.length));
            case STRIDED -> base.slice(-1, 0, 2 * shape[shape.length - 1], 2);
            case OFFSET -> base.slice(0, 1, shape[0] + 1);
            case EXPANDED -> base;
        };
        seen = values instanceof double[] d ? seen.copyFrom(d) : seen.copyFrom((long[]) values);
        return form == Form.EXPANDED ? base.expand(shape) : seen;
    }

    /** The shape of the memory that it lies in. */
    private long[] memory() {
        long[] sizes = shape.clone();
        switch (form) {
            case DENSE -> {}
            case TRANSPOSED -> {
                for (int d = 0; d < sizes.length; d++) {
                    sizes[d] = shape[shape.length - 1 - d];
                }
            }
            case STRIDED -> sizes[sizes.length - 1] *= 2;
            case OFFSET -> sizes[0]++;
            case EXPANDED -> sizes[0] = 1;
        }
        return sizes;
    }

    private static int[] reversed(int rank) {
        int[] dims = new int[rank];
        for (int d = 0; d < rank; d++) {
            dims[d] = rank - 1 - d;
        }
        return dims;
    }

    Leaf with(Form other) {
        if (form == other || form == Form.EXPANDED || other == Form.EXPANDED) {
            return this;
        }
        return new Leaf(dtype, shape, possible(other, shape), values, wantsGrad);
    }

    Leaf withGrad(boolean wanted) {
        return new Leaf(dtype, shape, form, values, wanted);
    }

    /** As Java. */
    @Override
    public String print(List<String> args) {
        String from = "Tensor.full(Shape.of(" + list(memory()) + "), 77, DType." + dtype.name() + ", DEVICE)";
        String given = ".copyFrom(new " + (values instanceof double[] ? "double" : "long") + "[] {" + text() + "})";
        int last = shape.length - 1;
        String made = switch (form) {
            case DENSE -> from + given;
            case TRANSPOSED ->
                from + ".permute(" + Arrays.toString(reversed(shape.length)).replaceAll("[\\[\\]]", "") + ")" + given;
            case STRIDED -> from + ".slice(-1, 0, " + 2 * shape[last] + ", 2)" + given;
            case OFFSET -> from + ".slice(0, 1, " + (shape[0] + 1) + ")" + given;
            case EXPANDED -> from + given + ".expand(" + list(shape) + ")";
        };
        return made + (wantsGrad ? ".requiresGrad(true)" : "");
    }

    private static String list(long[] sizes) {
        StringJoiner all = new StringJoiner(", ");
        for (long n : sizes) {
            all.add(Long.toString(n));
        }
        return all.toString();
    }

    private String text() {
        StringJoiner all = new StringJoiner(", ");
        if (values instanceof double[] d) {
            for (double v : d) {
                all.add(Literals.of(v));
            }
        } else {
            for (long v : (long[]) values) {
                all.add(Literals.of(v));
            }
        }
        return all.toString();
    }
}
