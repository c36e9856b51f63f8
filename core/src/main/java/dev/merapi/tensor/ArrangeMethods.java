// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.dispatch.Composition;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Views;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import dev.merapi.types.Sizes;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/** Windows, diagonals, grids, and tensors put side by side: made of the views and copies of {@link ShapeMethods}. */
public abstract sealed class ArrangeMethods extends ShapeMethods permits IndexMethods {
    ArrangeMethods() {}

    // ---------------------------------------------------------------- views

    /**
     * Windows along a dimension: each begins {@code step} elements after the one before, and they may overlap.
     *
     * @param dim the dimension, negative from the end
     * @param size how many elements a window has, at most as many as there are
     * @param step at least 1
     * @return a view with the number of windows in {@code dim}, and a new last dimension of {@code size}
     */
    public Tensor unfold(int dim, long size, long step) {
        return Views.UNFOLD.call(new Views.Unfold(self(), dim, size, step));
    }

    /**
     * Any sizes and strides over these elements, which must lie in order.
     *
     * @param sizes the sizes of the view
     * @param strides how far apart neighbours of each dimension are, in elements, at least 0
     * @param offset where the view begins, counted from this tensor's first element
     * @return a view of this memory; where elements appear several times, their gradients add up
     */
    public Tensor asStrided(long[] sizes, long[] strides, long offset) {
        Objects.requireNonNull(sizes, "sizes");
        Objects.requireNonNull(strides, "strides");
        return Views.AS_STRIDED.call(new Views.AsStrided(self(), sizes, strides, offset));
    }

    /**
     * Moves dimensions to other places; the others keep their order.
     *
     * @param from dimensions, negative from the end
     * @param to where each of them is in the result
     * @return a view of this memory
     */
    public Tensor moveDim(int[] from, int[] to) {
        Objects.requireNonNull(from, "from");
        Objects.requireNonNull(to, "to");
        Tensor x = self();
        Integer[] order = new Integer[x.rank()];
        boolean[] moved = new boolean[x.rank()];
        boolean fits = from.length == to.length;
        for (int i = 0; fits && i < from.length; i++) {
            int source = x.shape().normalize("moveDim", from[i]);
            int target = x.shape().normalize("moveDim", to[i]);
            fits = x.rank() > 0 && order[target] == null && !moved[source];
            if (fits) {
                order[target] = source;
                moved[source] = true;
            }
        }
        if (!fits) {
            throw new ShapeException(Message.of(
                            "moveDim", "from " + Arrays.toString(from) + " to " + Arrays.toString(to) + " is no move")
                    .fact("x", x.describe())
                    .fix("name each dimension once, and as many places."));
        }
        int next = 0;
        for (int i = 0; i < order.length; i++) {
            if (order[i] == null) {
                while (moved[next]) {
                    next++;
                }
                order[i] = next++;
            }
        }
        return permute(Arrays.stream(order).mapToInt(d -> d).toArray());
    }

    /**
     * Vectors as the axes of a grid: of {@code x} [n] and {@code y} [m] two tensors [n, m], each constant along the other's.
     *
     * @param axes of one dimension, or 0-d; of one dtype and device
     * @return views, as many as axes; {@code indexing="ij"} of PyTorch
     */
    public static List<Tensor> meshgrid(List<Tensor> axes) {
        long[] sizes = new long[Objects.requireNonNull(axes, "axes").size()];
        for (int i = 0; i < sizes.length; i++) {
            Tensor axis = Objects.requireNonNull(axes.get(i), "axes");
            if (axis.rank() > 1) {
                throw new ShapeException(
                        Message.of("meshgrid", "axes have one dimension, but axis " + i + " has " + axis.rank())
                                .fact("axis " + i, axis.describe())
                                .fix("flatten() it."));
            }
            sizes[i] = axis.numel();
        }
        List<Tensor> grid = new ArrayList<>();
        for (int i = 0; i < sizes.length; i++) {
            long[] along = new long[sizes.length];
            Arrays.fill(along, 1);
            along[i] = sizes[i];
            grid.add(axes.get(i).reshape(along).expand(sizes));
        }
        return grid;
    }

    // ---------------------------------------------------------------- diagonals

    /**
     * A matrix with this vector on a diagonal, or a copy of that diagonal of this matrix.
     *
     * @param offset upwards from the main diagonal, 0
     * @return a new tensor
     */
    public Tensor diag(long offset) {
        Tensor x = self();
        if (x.rank() != 1 && x.rank() != 2) {
            throw new ShapeException(Message.of("diag", "takes a vector or a matrix")
                    .fact("x", x.describe())
                    .fix("diagEmbed or diagonal for more dimensions."));
        }
        return x.rank() == 1
                ? diagEmbed(offset, 0, 1)
                : x.diagonal(offset, 0, 1).copy();
    }

    /**
     * The last dimension on a diagonal of two new ones; 0 elsewhere.
     *
     * @param offset upwards from the main diagonal, 0
     * @param dim0 where the rows are in the result, negative from the end
     * @param dim1 where the columns are
     * @return a new tensor, of one dimension more
     */
    public Tensor diagEmbed(long offset, int dim0, int dim1) {
        Tensor x = self();
        return Composition.of("merapi::diag_embed", () -> {
            if (x.rank() == 0) {
                throw new ShapeException(Message.of("merapi::diag_embed", "a 0-d tensor has no dimension")
                        .fact("x", x.describe())
                        .fix("unsqueeze(0)."));
            }
            int rank = x.rank() + 1;
            int rows = Shape.normalize(dim0, rank);
            int columns = Shape.normalize(dim1, rank);
            long size = Sizes.add(x.size(-1), Math.abs(Math.max(offset, -Long.MAX_VALUE)));
            long[] sizes = new long[rank];
            for (int d = 0, from = 0; d < rank; d++) {
                sizes[d] = d == rows || d == columns ? size : x.size(from++);
            }
            Tensor out = zeros(x, Shape.of("diagEmbed", sizes));
            out.diagonal(offset, rows, columns).copy_(x);
            return out;
        });
    }

    private static Tensor zeros(Tensor like, Shape shape) {
        return Tensor.zeros(Tensor.meta(like, shape), like.isMeta());
    }

    /**
     * A copy with {@code source} as one of its diagonals.
     *
     * @param source of the shape of {@code diagonal(offset, dim0, dim1)}
     * @param offset upwards from the main diagonal, 0
     * @param dim0 the rows' dimension, negative from the end
     * @param dim1 the columns' dimension
     * @return a new tensor in the form of this
     */
    public Tensor diagonalScatter(Tensor source, long offset, int dim0, int dim1) {
        Objects.requireNonNull(source, "source");
        return Composition.of("merapi::diagonal_scatter", () -> {
            Tensor copy = copy();
            copy.diagonal(offset, dim0, dim1).copy_(source);
            return copy;
        });
    }

    /**
     * A copy with {@code source} at one index of a dimension.
     *
     * @param source of the shape of {@code select(dim, index)}
     * @param dim the dimension, negative from the end
     * @param index negative from the end
     * @return a new tensor in the form of this
     */
    public Tensor selectScatter(Tensor source, int dim, long index) {
        Objects.requireNonNull(source, "source");
        return Composition.of("merapi::select_scatter", () -> {
            Tensor copy = copy();
            copy.select(dim, index).copy_(source);
            return copy;
        });
    }

    /**
     * A copy with {@code source} in place of a slice.
     *
     * @param source of the shape of {@code slice(dim, start, end, step)}
     * @param dim the dimension, negative from the end
     * @param start the first index
     * @param end no index from here on
     * @param step at least 1
     * @return a new tensor in the form of this
     */
    public Tensor sliceScatter(Tensor source, int dim, long start, long end, long step) {
        Objects.requireNonNull(source, "source");
        return Composition.of("merapi::slice_scatter", () -> {
            Tensor copy = copy();
            copy.slice(dim, start, end, step).copy_(source);
            return copy;
        });
    }

    /**
     * Where the elements are that {@code tril(offset)} keeps.
     *
     * @param rows of the matrix
     * @param columns of the matrix
     * @param offset upwards from the main diagonal, 0
     * @return int64 [2, count] on the CPU: rows and columns, in row-major order
     */
    public static Tensor trilIndices(long rows, long columns, long offset) {
        return Composition.of(
                "merapi::tril_indices",
                () -> triangle(rows, columns).tril(offset).nonzero().t().contiguous());
    }

    /**
     * Where the elements are that {@code triu(offset)} keeps.
     *
     * @param rows of the matrix
     * @param columns of the matrix
     * @param offset upwards from the main diagonal, 0
     * @return int64 [2, count] on the CPU: rows and columns, in row-major order
     */
    public static Tensor triuIndices(long rows, long columns, long offset) {
        return Composition.of(
                "merapi::triu_indices",
                () -> triangle(rows, columns).triu(offset).nonzero().t().contiguous());
    }

    private static Tensor triangle(long rows, long columns) {
        return Tensor.ones(Shape.of("triangle", rows, columns), DType.BOOL, Device.CPU);
    }

    // ---------------------------------------------------------------- copies

    /**
     * Turns the plane of two dimensions by right angles, from the first towards the second.
     *
     * @param times how often, negative for the other way
     * @param dim0 one dimension, negative from the end
     * @param dim1 the other
     * @return a new tensor
     */
    public Tensor rot90(long times, int dim0, int dim1) {
        Tensor x = self();
        return Composition.of("merapi::rot90", () -> {
            int a = x.layout().requireDim("rot90", dim0);
            int b = x.layout().requireDim("rot90", dim1);
            if (a == b) {
                throw new ShapeException(Message.of("merapi::rot90", "dimension " + a + " is no plane")
                        .fact("x", x.describe())
                        .fix("name two different dimensions."));
            }
            return switch ((int) Math.floorMod(times, 4L)) {
                case 0 -> x.copy();
                case 1 -> x.flip(b).transpose(a, b).contiguous();
                case 2 -> x.flip(a, b);
                default -> x.flip(a).transpose(a, b).contiguous();
            };
        });
    }

    /**
     * The whole repeated along its last dimensions; {@code repeat} takes at least as many numbers as there are dimensions.
     *
     * @param repeats how often along each of the last dimensions
     * @return a new tensor
     */
    public Tensor tile(long... repeats) {
        Objects.requireNonNull(repeats, "repeats");
        int missing = Math.max(0, self().rank() - repeats.length);
        long[] all = new long[repeats.length + missing];
        Arrays.fill(all, 0, missing, 1);
        System.arraycopy(repeats, 0, all, missing, repeats.length);
        return Composition.of("merapi::tile", () -> self().repeat(all));
    }

    /**
     * Each slice of a dimension several times, one after the other.
     *
     * @param repeats how often
     * @param dim the dimension, negative from the end
     * @return a new tensor, {@code repeats} times as large in {@code dim}
     */
    public Tensor repeatInterleave(long repeats, int dim) {
        Tensor x = self();
        return Composition.of("merapi::repeat_interleave", () -> {
            int d = x.layout().requireDim("repeat_interleave", dim);
            if (repeats < 0) {
                throw new ShapeException(Message.of("merapi::repeat_interleave", repeats + " repeats")
                        .argument("repeats"));
            }
            long[] wide = new long[x.rank() + 1];
            Arrays.fill(wide, -1);
            wide[d + 1] = repeats;
            Tensor each = x.unsqueeze(d + 1).expand(wide);
            return each.copy().flatten(d, d + 1);
        });
    }

    /**
     * Moves the elements along several dimensions; what leaves at the end comes back at the beginning.
     *
     * @param shifts how far along each
     * @param dims the dimensions, negative from the end
     * @return a new tensor
     */
    public Tensor roll(long[] shifts, int[] dims) {
        Objects.requireNonNull(shifts, "shifts");
        Objects.requireNonNull(dims, "dims");
        if (shifts.length != dims.length || dims.length == 0) {
            throw new ShapeException(Message.of("roll", shifts.length + " shifts for " + dims.length + " dimensions")
                    .fact("x", self().describe()));
        }
        return Composition.of("merapi::roll", () -> {
            Tensor x = self();
            for (int i = 0; i < dims.length; i++) {
                x = x.roll(shifts[i], dims[i]);
            }
            return x;
        });
    }

    // ---------------------------------------------------------------- side by side

    /**
     * Joined along the columns: dimension 1, or 0 of vectors.
     *
     * @param tensors at least one; 0-d ones count as vectors
     * @return a new tensor
     */
    public static Tensor hstack(List<Tensor> tensors) {
        List<Tensor> all = atLeast("hstack", tensors, 1);
        return Composition.of("merapi::hstack", () -> Tensor.cat(all, all.get(0).rank() == 1 ? 0 : 1));
    }

    /**
     * Joined along the rows, dimension 0; vectors are rows.
     *
     * @param tensors at least one
     * @return a new tensor
     */
    public static Tensor vstack(List<Tensor> tensors) {
        return Composition.of("merapi::vstack", () -> Tensor.cat(atLeast("vstack", tensors, 2), 0));
    }

    /**
     * Joined along dimension 2; vectors [n] are [1, n, 1], matrices [n, m] are [n, m, 1].
     *
     * @param tensors at least one
     * @return a new tensor
     */
    public static Tensor dstack(List<Tensor> tensors) {
        return Composition.of("merapi::dstack", () -> Tensor.cat(atLeast("dstack", tensors, 3), 2));
    }

    private static List<Tensor> atLeast(String op, List<Tensor> tensors, int rank) {
        Objects.requireNonNull(tensors, "tensors");
        if (tensors.isEmpty()) {
            throw new ShapeException(op + ": the list of tensors is empty");
        }
        List<Tensor> all = new ArrayList<>();
        for (Tensor t : tensors) {
            Tensor x = Objects.requireNonNull(t, "tensors");
            while (x.rank() < Math.min(rank, 2)) {
                x = x.unsqueeze(0);
            }
            all.add(x.rank() < rank ? x.unsqueeze(-1) : x);
        }
        return all;
    }
}
