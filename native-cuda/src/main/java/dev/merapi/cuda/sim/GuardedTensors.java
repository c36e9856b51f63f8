// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.sim;

import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.host.HostMemory;
import dev.merapi.cuda.runtime.Arguments;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * Copies of the tensors of a checked launch, each far from the others: where tensors lie side by side in one allocation,
 * the element behind the last one of a tensor would be the first one of another, which the kernel may use. Tensors that
 * overlap stay together. What the kernel could write is copied back by {@link #close}.
 */
public final class GuardedTensors implements AutoCloseable {
    private static final long ALIGNMENT = 256;
    private static final long SMALLEST_GAP = 4096;
    private static final long LARGEST_GAP = 1 << 20;

    private record Group(long begin, long end, HostMemory memory, long distance, boolean writable) {}

    private final List<Arguments.Region> regions;
    private final List<Group> groups = new ArrayList<>();

    GuardedTensors(List<Arguments.Region> regions) {
        this.regions = regions;
        List<Arguments.Region> sorted = new ArrayList<>(regions);
        sorted.removeIf(r -> r.bytes() == 0);
        sorted.sort(Comparator.comparingLong(Arguments.Region::address));
        int i = 0;
        while (i < sorted.size()) {
            long begin = sorted.get(i).address();
            long end = begin;
            boolean writable = false;
            for (; i < sorted.size() && (end == begin || sorted.get(i).address() < end); i++) {
                Arguments.Region r = sorted.get(i);
                end = Math.max(end, r.address() + r.bytes());
                writable |= r.writable();
            }
            groups.add(group(begin, end, writable));
        }
    }

    private static Group group(long begin, long end, boolean writable) {
        long bytes = end - begin;
        long gap = Math.max(SMALLEST_GAP, Math.min(LARGEST_GAP, bytes));
        HostMemory memory = HostMemory.allocate(bytes + 2 * gap + 2 * ALIGNMENT);
        // As far off from a multiple of 256 bytes as it was: what was misaligned stays so.
        long at = (memory.address() + gap + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + begin % ALIGNMENT;
        CudaNative.memory_copy(at, begin, bytes);
        return new Group(begin, end, memory, at - begin, writable);
    }

    /** Where an address is now: one in, or at the end of, a tensor has moved; any other number is as it was. */
    long moved(long address) {
        for (Group g : groups) {
            if (address >= g.begin && address < g.end) {
                return address + g.distance;
            }
        }
        for (Group g : groups) {
            if (address == g.end) {
                return address + g.distance;
            }
        }
        return address;
    }

    /** Begin, bytes, flags and element size of each region, for the engine. */
    long[][] table() {
        return regions.stream()
                .map(r -> new long[] {
                    moved(r.address()),
                    r.bytes(),
                    (r.writable() ? SimulatedCuda.WRITABLE : 0) | (r.fresh() ? SimulatedCuda.FRESH : 0),
                    r.element()
                })
                .toArray(long[][]::new);
    }

    @Override
    public void close() {
        for (Group g : groups) {
            if (g.writable) {
                CudaNative.memory_copy(g.begin, g.begin + g.distance, g.end - g.begin);
            }
            g.memory.close();
        }
    }
}
