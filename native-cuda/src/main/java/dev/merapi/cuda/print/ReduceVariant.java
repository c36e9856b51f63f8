// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.print;

import dev.merapi.ops.code.Collapsed;
import dev.merapi.tensor.Tensor;

/**
 * How a reduction walks over memory; one kernel is compiled for each that occurs.
 *
 * @param rows whether neighbours in memory belong to one result; else they belong to neighbouring ones
 * @param pack neighbours that a thread loads at once
 * @param kept dimensions that results are indexed by
 * @param reduced dimensions that are reduced
 * @param wide whether elements of a result, or the distances between them, need 64 bits
 * @param many whether numbers of results do
 * @param packed inputs that have an element of their own for each of a pack; the others step over it
 */
public record ReduceVariant(boolean rows, int pack, int kept, int reduced, boolean wide, boolean many, long packed) {
    public static ReduceVariant of(Collapsed kept, Collapsed reduced, Tensor[] inputs, long results, long elements) {
        boolean rows = smallest(reduced, inputs.length) <= smallest(kept, inputs.length);
        boolean wide = PointwiseVariant.isWide(elements);
        for (int k = 0; k < inputs.length; k++) {
            wide |= PointwiseVariant.isWide(reduced.reach(k));
        }
        boolean many = kept.rank() > 1 && PointwiseVariant.isWide(results);
        int pack = PointwiseVariant.width(inputs);
        long packed = rows ? packed(reduced, kept, inputs, pack) : packed(kept, reduced, inputs, pack);
        // A row of one dimension may leave a rest that fills no pack.
        boolean fits = rows && reduced.rank() == 1 ? elements >= 2L * pack : last(rows ? reduced : kept) % pack == 0;
        if (packed == 0 || !fits || inputs.length > Long.SIZE) {
            pack = 1;
            packed = -1; // all of them, and also those that a mask has no bit for
        }
        return new ReduceVariant(rows, pack, kept.rank(), reduced.rank(), wide, many, packed);
    }

    boolean isPacked(int input) {
        return (packed >> input & 1) != 0;
    }

    /** Packs that a thread loads before it uses the first, so that 64 bytes are on their way. */
    int ahead(Iterable<Integer> bytes) {
        int all = 0;
        int k = 0;
        for (int size : bytes) {
            all += isPacked(k++) ? size * pack : size;
        }
        return Math.max(1, Math.min(8, Integer.highestOneBit(64 / Math.min(64, Math.max(1, all)))));
    }

    private static long last(Collapsed space) {
        return space.rank() == 0 ? 1 : space.size(space.rank() - 1);
    }

    /** The inputs that step by 1 along the last dimension of a space, if packs of all of them are aligned; else 0. */
    private static long packed(Collapsed along, Collapsed other, Tensor[] inputs, int pack) {
        int last = along.rank() - 1;
        long packed = 0;
        for (int k = 0; last >= 0 && k < inputs.length; k++) {
            long stride = along.stride(k, last);
            if (stride == 0) {
                continue;
            }
            long load = Math.min(
                    PointwiseVariant.LARGEST_LOAD, (long) inputs[k].dtype().byteSize() * pack);
            if (stride != 1 || inputs[k].address() % load != 0 || !steps(along, last, k, inputs[k], load)) {
                return 0;
            }
            if (!steps(other, other.rank(), k, inputs[k], load)) {
                return 0;
            }
            packed |= 1L << k;
        }
        return packed;
    }

    /** Whether the first dimensions of a space step by whole loads. */
    private static boolean steps(Collapsed space, int dimensions, int k, Tensor input, long load) {
        for (int d = 0; d < dimensions; d++) {
            if (space.stride(k, d) * input.dtype().byteSize() % load != 0) {
                return false;
            }
        }
        return true;
    }

    private static long smallest(Collapsed space, int inputs) {
        long smallest = Long.MAX_VALUE;
        for (int k = 0; k < inputs; k++) {
            for (int d = 0; d < space.rank(); d++) {
                long stride = space.stride(k, d);
                smallest = stride == 0 ? smallest : Math.min(smallest, stride);
            }
        }
        return smallest;
    }
}
