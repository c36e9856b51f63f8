// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.dispatch.Composition;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Einsum;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;

/** Products of vectors, matrices and tensors, made of {@code matmul}; and whether two tensors are the same. */
public abstract sealed class ProductMethods extends GradientMethods permits TensorMethods {
    ProductMethods() {}

    // ---------------------------------------------------------------- comparison

    /**
     * Whether all elements are as close as {@link #isClose} says; NaN is close to nothing.
     *
     * @param other broadcast with this
     * @param relative how far, relative to {@code other}
     * @param absolute how far besides
     * @return true if all are; waits for the device
     */
    public boolean allClose(Tensor other, double relative, double absolute) {
        Objects.requireNonNull(other, "other");
        return Composition.of(
                "merapi::all_close",
                () -> isClose(other, relative, absolute).all().itemBoolean());
    }

    /**
     * {@link #allClose(Tensor, double, double)} with PyTorch's 1e-5 and 1e-8.
     *
     * @param other broadcast with this
     * @return true if all are; waits for the device
     */
    public boolean allClose(Tensor other) {
        return allClose(other, 1e-5, 1e-8);
    }

    /**
     * Whether both have the same shape and dtype and equal elements; NaN equals nothing.
     *
     * @param other on the same device
     * @return true if so; waits for the device
     */
    public boolean equal(Tensor other) {
        Objects.requireNonNull(other, "other");
        Tensor x = self();
        return Composition.of("merapi::equal", () -> {
            x.requireOpen("equal", "x");
            other.requireOpen("equal", "other");
            return x.shape().equals(other.shape())
                    && x.dtype() == other.dtype()
                    && x.eq(other).all().itemBoolean();
        });
    }

    // ---------------------------------------------------------------- vectors

    private static void require(String op, boolean fits, Tensor a, Tensor b) {
        if (!fits) {
            throw new ShapeException(Message.of("merapi::" + op, "the shapes do not fit")
                    .fact("x", a.describe())
                    .fact("other", b.describe()));
        }
    }

    /**
     * Σ x·y of two vectors.
     *
     * @param other [n], as this
     * @return a new 0-d tensor
     */
    public Tensor dot(Tensor other) {
        Objects.requireNonNull(other, "other");
        Tensor x = self();
        require("dot", x.rank() == 1 && other.rank() == 1, x, other);
        return Composition.of("merapi::dot", () -> x.matmul(other));
    }

    /**
     * All products of an element of this with one of the other: [n], [m] → [n, m].
     *
     * @param other [m]
     * @return a new tensor [n, m]
     */
    public Tensor outer(Tensor other) {
        Objects.requireNonNull(other, "other");
        Tensor x = self();
        require("outer", x.rank() == 1 && other.rank() == 1, x, other);
        return Composition.of("merapi::outer", () -> x.unsqueeze(1).mul(other.unsqueeze(0)));
    }

    /**
     * Sums of products over the last dimensions of both: [*, n], [+, n] → [*, +]. With a 0-d tensor the product.
     *
     * @param other of this tensor's last size
     * @return a new tensor
     */
    public Tensor inner(Tensor other) {
        Objects.requireNonNull(other, "other");
        Tensor x = self();
        return Composition.of(
                "merapi::inner",
                () -> x.rank() == 0 || other.rank() == 0
                        ? x.mul(other)
                        : x.tensordot(other, new int[] {-1}, new int[] {-1}));
    }

    /**
     * The Kronecker product: in place of each element that element times the other tensor.
     *
     * @param other of any shape
     * @return a new tensor whose sizes are the products of both
     */
    public Tensor kron(Tensor other) {
        Objects.requireNonNull(other, "other");
        Tensor x = self();
        return Composition.of("merapi::kron", () -> {
            int rank = Math.max(x.rank(), other.rank());
            long[] left = new long[2 * rank];
            long[] right = new long[2 * rank];
            long[] sizes = new long[rank];
            for (int d = 0; d < rank; d++) {
                int a = d - rank + x.rank();
                int b = d - rank + other.rank();
                left[2 * d] = a < 0 ? 1 : x.size(a);
                left[2 * d + 1] = 1;
                right[2 * d] = 1;
                right[2 * d + 1] = b < 0 ? 1 : other.size(b);
                sizes[d] = left[2 * d] * right[2 * d + 1];
            }
            return x.reshape(left).mul(other.reshape(right)).view(sizes);
        });
    }

    // ---------------------------------------------------------------- matrices

    /**
     * beta·this + alpha·(a·b). With a beta of 0 this is not looked at, whatever is in it.
     *
     * @param a [n, k]
     * @param b [k, m]
     * @param beta what this is multiplied by
     * @param alpha what the product is multiplied by
     * @return a new tensor [n, m], to which this broadcasts
     */
    public Tensor addmm(Tensor a, Tensor b, Number beta, Number alpha) {
        return addProduct("addmm", a, 2, b, 2, beta, alpha);
    }

    /**
     * this + a·b.
     *
     * @param a [n, k]
     * @param b [k, m]
     * @return a new tensor [n, m], to which this broadcasts
     */
    public Tensor addmm(Tensor a, Tensor b) {
        return addmm(a, b, 1, 1);
    }

    /**
     * beta·this + alpha·(a·v).
     *
     * @param a [n, k]
     * @param v [k]
     * @param beta what this is multiplied by
     * @param alpha what the product is multiplied by
     * @return a new tensor [n], to which this broadcasts
     */
    public Tensor addmv(Tensor a, Tensor v, Number beta, Number alpha) {
        return addProduct("addmv", a, 2, v, 1, beta, alpha);
    }

    /**
     * beta·this + alpha·(a·b) of batches.
     *
     * @param a [B, n, k]
     * @param b [B, k, m]
     * @param beta what this is multiplied by
     * @param alpha what the products are multiplied by
     * @return a new tensor [B, n, m], to which this broadcasts
     */
    public Tensor baddbmm(Tensor a, Tensor b, Number beta, Number alpha) {
        return addProduct("baddbmm", a, 3, b, 3, beta, alpha);
    }

    /**
     * this + a·b of batches.
     *
     * @param a [B, n, k]
     * @param b [B, k, m]
     * @return a new tensor [B, n, m], to which this broadcasts
     */
    public Tensor baddbmm(Tensor a, Tensor b) {
        return baddbmm(a, b, 1, 1);
    }

    private Tensor addProduct(String op, Tensor a, int rankA, Tensor b, int rankB, Number beta, Number alpha) {
        Objects.requireNonNull(a, "a");
        Objects.requireNonNull(b, "b");
        Objects.requireNonNull(beta, "beta");
        Objects.requireNonNull(alpha, "alpha");
        Tensor x = self();
        require(op, a.rank() == rankA && b.rank() == rankB && (rankA < 3 || a.size(0) == b.size(0)), a, b);
        return Composition.of("merapi::" + op, () -> {
            Tensor product = a.matmul(b);
            if (!x.shape().expandableTo(product.shape())) {
                throw new ShapeException(Message.of("merapi::" + op, "x does not broadcast to " + product.shape())
                        .fact("x", x.describe())
                        .fact("a", a.describe())
                        .fact("b", b.describe()));
            }
            if (beta.doubleValue() == 0) {
                x.requireOpen(op, "x");
                return alpha.doubleValue() == 1 ? product : product.mul(alpha);
            }
            Tensor own = beta.doubleValue() == 1 ? x : x.mul(beta);
            return alpha.doubleValue() == 1 ? own.add(product) : own.add(product, alpha);
        });
    }

    // ---------------------------------------------------------------- tensors

    /**
     * Sums of products over dimensions of both; the others follow, those of this first.
     *
     * @param other of the same dtype
     * @param ofThis dimensions of this, negative from the end
     * @param ofOther as many of the other, of the same sizes
     * @return a new tensor
     */
    public Tensor tensordot(Tensor other, int[] ofThis, int[] ofOther) {
        Objects.requireNonNull(other, "other");
        Objects.requireNonNull(ofThis, "ofThis");
        Objects.requireNonNull(ofOther, "ofOther");
        Tensor x = self();
        return Composition.of("merapi::tensordot", () -> {
            require("tensordot", ofThis.length == ofOther.length, x, other);
            int[] a = Arrays.stream(ofThis)
                    .map(d -> x.layout().requireDim("tensordot", d))
                    .toArray();
            int[] b = Arrays.stream(ofOther)
                    .map(d -> other.layout().requireDim("tensordot", d))
                    .toArray();
            long inner = 1;
            for (int i = 0; i < a.length; i++) {
                require("tensordot", x.size(a[i]) == other.size(b[i]), x, other);
                inner *= x.size(a[i]);
            }
            int[] leftOnly = others(x.rank(), a);
            int[] rightOnly = others(other.rank(), b);
            long[] sizes = IntStream.range(0, leftOnly.length + rightOnly.length)
                    .mapToLong(
                            i -> i < leftOnly.length ? x.size(leftOnly[i]) : other.size(rightOnly[i - leftOnly.length]))
                    .toArray();
            Tensor left = x.permute(joined(leftOnly, a)).reshape(product(x, leftOnly), inner);
            Tensor right = other.permute(joined(b, rightOnly)).reshape(inner, product(other, rightOnly));
            return left.matmul(right).view(sizes);
        });
    }

    /**
     * Sums of products over the last dimensions of this and the first of the other.
     *
     * @param other of the same dtype
     * @param dims how many
     * @return a new tensor
     */
    public Tensor tensordot(Tensor other, int dims) {
        Objects.requireNonNull(other, "other");
        int rank = self().rank();
        require("tensordot", dims >= 0 && dims <= rank && dims <= other.rank(), self(), other);
        return tensordot(
                other,
                IntStream.range(rank - dims, rank).toArray(),
                IntStream.range(0, dims).toArray());
    }

    private static int[] others(int rank, int[] dims) {
        return IntStream.range(0, rank)
                .filter(d -> Arrays.stream(dims).noneMatch(k -> k == d))
                .toArray();
    }

    private static int[] joined(int[] a, int[] b) {
        return IntStream.concat(Arrays.stream(a), Arrays.stream(b)).toArray();
    }

    private static long product(Tensor x, int[] dims) {
        return Arrays.stream(dims).mapToLong(x::size).reduce(1, (m, n) -> m * n);
    }

    /**
     * Sums of products by the names of dimensions: {@code einsum("bik,bkj->bij", a, b)}. A letter twice in an operand is its
     * diagonal; what the result does not name is summed; {@code ...} stands for further dimensions, which broadcast; without
     * an arrow the result has what is named once, in alphabetical order. Of several operands, those two are multiplied first
     * that take the fewest multiplications.
     *
     * @param equation the names of each operand's dimensions, separated by commas; then {@code ->} and those of the result
     * @param operands of one dtype
     * @return a new tensor, or a view of a single operand
     * @throws ShapeException if the equation is none, or does not fit the operands
     */
    public static Tensor einsum(String equation, Tensor... operands) {
        Objects.requireNonNull(operands, "operands");
        return Einsum.einsum(equation, Arrays.asList(operands));
    }

    /**
     * As {@link #einsum(String, Tensor...)}.
     *
     * @param equation the names of each operand's dimensions, and of the result's
     * @param operands of one dtype
     * @return a new tensor, or a view of a single operand
     */
    public static Tensor einsum(String equation, List<Tensor> operands) {
        return Einsum.einsum(equation, operands);
    }
}
