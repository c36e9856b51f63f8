// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.Merapi;
import dev.merapi.backend.Backends;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.Blas;
import dev.merapi.device.Memory;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;

/**
 * What the tests of real sizes stand on. They find what small ones do not: races of blocks, second waves, strides and counts
 * beyond 32 bits, long loops, splits.
 *
 * <p>Note [Bounds]. A bound is computed for each element, by the composition with every term replaced by its absolute value,
 * and follows from the arithmetic: {@code u} is half the distance from 1 to the next number of the result's dtype; a float32
 * sum of n terms in any order is off by n·2⁻²⁴ of the sum of their sizes at most, and one whose longest chain of additions
 * has d links by d·2⁻²⁴ (see {@link #chain}). Where the order is not known and n is large, 8·√n·2⁻²⁴ holds for all but one
 * in 10¹⁴ sums, if roundings are independent (Higham, Mary 2019).
 */
abstract class SizesBase {
    static final double HALF = 0x1p-24;
    /** What these sizes take, in float64 too. */
    private static final long MEMORY = 40L << 30;
    /** Of what is smaller, float16 keeps no more than multiples of twice this. */
    private static final double FLOAT16_FLOOR = 0x1p-25;

    abstract Device device();

    /** Whether sizes are those that people train with. */
    abstract boolean isFull();

    /** A library's products, with every epilogue; null if there is none. */
    abstract @Nullable Blas blas();

    final long at(long full, long small) {
        return isFull() ? full : small;
    }

    final Kernels kernels() {
        return Kernels.of(Backends.of(device().type()));
    }

    @BeforeEach
    void begin() {
        long cap = Memory.stats(device()).cap();
        assumeTrue(
                !isFull() || cap > MEMORY,
                "skipped: needs " + (MEMORY >> 30) + " GiB, and the cap of " + device() + " is " + (cap >> 30));
        Merapi.seed(17);
        Memory.trim(device());
    }

    @AfterEach
    void end() {
        Memory.trim(device());
    }

    final Tensor random(DType dtype, long... shape) {
        return Tensor.randn(Shape.of(shape), dtype, device());
    }

    final Tensor zeros(DType dtype, long... shape) {
        return Tensor.zeros(Shape.of(shape), dtype, device());
    }

    static Tensor wide(Tensor t) {
        return t.detach().to(DType.FLOAT64);
    }

    static double unit(DType dtype) {
        return dtype.epsilon() / 2;
    }

    /** What rounding to the dtype may take from a number that is almost nothing. */
    static double floor(DType dtype) {
        return dtype == DType.FLOAT16 ? FLOAT16_FLOOR : 1e-37;
    }

    /**
     * A float32 sum along a row of our own kernels, relative to the sum of sizes: a thread adds 32 elements at most, or each
     * 512th of the row; then a tree, and a few operations on its result.
     */
    static double chain(long row) {
        return (row / 512 + 32 + 16) * HALF;
    }

    /** See Note [Bounds]. */
    static double anyOrder(long n) {
        return 8 * Math.sqrt(n) * HALF;
    }

    /**
     * Fills so many bytes of memory that is free with 0xff, which is NaN in every floating dtype: what is allocated next
     * comes from there, and an element that nobody writes is found.
     */
    final void poison(Errors errors, long bytes) {
        Memory.trim(device());
        List<Tensor> blocks = new ArrayList<>();
        try (Scope scope = Scope.open()) {
            // Small ones come from lists by size, of which there are no more than this.
            for (long size = 64; size <= at(1 << 20, 1 << 12); size += Math.max(64, Long.highestOneBit(size) / 4)) {
                blocks.add(TENSORS.allocate(Shape.of(size), DType.UINT8, device()));
                blocks.add(TENSORS.allocate(Shape.of(size), DType.UINT8, device()));
            }
            // Gaps that other tests have left come first: a block that needs new memory fills none any more.
            for (long size = bytes; size >= bytes / 2; size -= bytes / 2) {
                long reserved = Memory.stats(device()).reserved();
                for (int i = 0; i < 64 && Memory.stats(device()).reserved() == reserved; i++) {
                    blocks.add(TENSORS.allocate(Shape.of(size), DType.UINT8, device()));
                }
            }
            blocks.forEach(b -> b.fill_(255));
        }
        for (long size : isFull() ? new long[] {1, 1000, 50_000, bytes / 8} : new long[] {1, 1000, bytes / 8}) {
            try (Scope scope = Scope.open()) {
                Tensor fresh = TENSORS.allocate(Shape.of(size), DType.FLOAT32, device());
                long poisoned = fresh.isNan().to(DType.INT64).sum().itemLong();
                errors.require(
                        poisoned == size, "of " + size + " elements of free memory only " + poisoned + " are poisoned");
            }
        }
    }
}
