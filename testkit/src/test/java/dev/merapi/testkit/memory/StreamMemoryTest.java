// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.memory;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.OutOfMemoryException;
import dev.merapi.memory.RawAllocator;
import dev.merapi.memory.Segment;
import dev.merapi.storage.CachingAllocator;
import dev.merapi.storage.Storage;
import dev.merapi.storage.StreamOrder;
import dev.merapi.storage.ThreadState;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Memory that several streams use: who waits for whom before it is handed out anew. */
@Tag("once")
final class StreamMemoryTest {
    private final Device device = Device.of(DeviceType.register("streamed"), 0);
    private final List<String> waits = new ArrayList<>();
    private final List<Long> segments = new ArrayList<>();
    private final ThreadState state = new ThreadState();
    private final CachingAllocator memory = new CachingAllocator(device, new RawAllocator() {
        private long next = 1L << 40;

        @Override
        public Segment allocate(long byteSize) {
            Segment segment = new Segment(null, next, byteSize);
            next += byteSize;
            segments.add(segment.address());
            return segment;
        }

        @Override
        public void free(Segment segment) {
            segments.remove(segment.address());
        }

        @Override
        public void order(long before, long after) {
            waits.add(after + " waits for " + before);
        }

        @Override
        public long defaultCap() {
            return 1L << 30;
        }

        @Override
        public boolean isJavaVisible() {
            return false;
        }
    });

    private static final class Side implements StreamOrder {
        private final long handle;
        private boolean open = true;

        Side(long handle) {
            this.handle = handle;
        }

        @Override
        public long handle() {
            return handle;
        }

        @Override
        public boolean isOpen() {
            return open;
        }
    }

    private Storage take(CachingAllocator from) {
        return Storage.scoped(from, 4 << 20, state, Shape.of(1 << 20), DType.FLOAT32);
    }

    @Test
    void memoryThatOnlyItsHomeUsedServesAgainAtOnce() {
        Storage a = take(memory);
        a.recordStream(new Side(0));
        long address = a.address();
        a.release(state);
        assertThat(waits).isEmpty();
        assertThat(take(memory).address()).isEqualTo(address);
    }

    @Test
    void itsHomeWaitsForOtherStreamsThatUsedItOnceEach() {
        Storage a = take(memory);
        Side five = new Side(5);
        a.recordStream(five);
        a.recordStream(new Side(6));
        a.recordStream(five);
        assertThat(waits).isEmpty();
        a.release(state);
        assertThat(waits).containsExactly("0 waits for 5", "0 waits for 6");
        take(memory).release(state);
        assertThat(waits).as("the next one to live there was used by nobody").hasSize(2);
    }

    @Test
    void nobodyWaitsForAStreamThatIsClosed() {
        Storage a = take(memory);
        Side five = new Side(5);
        a.recordStream(five);
        five.open = false;
        a.release(state);
        assertThat(waits).isEmpty();
    }

    @Test
    void aStreamWithTheHandleOfOneThatIsClosedIsAnother() {
        Storage a = take(memory);
        Side five = new Side(5);
        a.recordStream(five);
        five.open = false;
        a.recordStream(new Side(5));
        a.release(state);
        assertThat(waits).containsExactly("0 waits for 5");
    }

    @Test
    void theMemoryOfAStreamServesThatStreamOnly() {
        Side five = new Side(5);
        CachingAllocator pool = memory.pool("memory of a stream", five);
        Storage a = take(pool);
        assertThat(waits).as("who had it before").containsExactly("5 waits for 0");
        long address = a.address();
        a.recordStream(new Side(0));
        a.release(state);
        assertThat(waits).containsExactly("5 waits for 0", "5 waits for 0");
        Storage other = take(memory);
        assertThat(other.address()).isNotEqualTo(address);
        assertThat(take(pool).address()).isEqualTo(address);
    }

    @Test
    void aPoolGivesBackWhatNobodyUsesAndTheRestLater() {
        Side five = new Side(5);
        CachingAllocator pool = memory.pool("memory of a stream", five);
        Storage kept = take(pool);
        take(pool).release(state);
        long allocated = memory.stats().allocated();
        five.open = false;
        pool.close(state);
        assertThat(memory.stats().allocated()).isLessThan(allocated).isGreaterThanOrEqualTo(4 << 20);
        kept.recordStream(new Side(7));
        kept.release(state);
        assertThat(waits).last().isEqualTo("0 waits for 7");
        assertThat(memory.stats().allocated()).isZero();
        memory.trim(state);
        assertThat(segments).isEmpty();
    }

    @Test
    void theCapOfTheDeviceHoldsForPools() {
        memory.setCap(6 << 20);
        CachingAllocator pool = memory.pool("memory of a stream", new Side(5));
        Storage a = take(pool);
        long begin = System.nanoTime();
        assertThatThrownBy(() -> take(pool))
                .isInstanceOf(OutOfMemoryException.class)
                .hasMessageContaining("cap " + (6 << 20));
        assertThat(System.nanoTime() - begin)
                .as("it waits for no call, least of all its own")
                .isLessThan(1_900_000_000L);
        a.release(state);
    }

    /** What nobody uses is never missing: not to the device's own stream, nor to another one. */
    @Test
    void whatStreamsHaveFreeServesOthersWhenTheDeviceRunsOut() {
        memory.setCap(6 << 20);
        CachingAllocator five = memory.pool("memory of a stream", new Side(5));
        CachingAllocator six = memory.pool("memory of a stream", new Side(6));
        for (CachingAllocator from : List.of(five, memory, six, five, memory)) {
            waits.clear();
            Storage a = take(from);
            assertThat(memory.stats().allocated()).isGreaterThanOrEqualTo(4 << 20);
            a.release(state);
        }
        assertThat(waits).as("the device's own stream takes over from five").contains("0 waits for 5");
        take(five).release(state);
        memory.trim(state);
        assertThat(segments).isEmpty();
    }

    /** A replay writes where the step wrote that was captured: that is nobody else's before the graph is closed. */
    @Test
    void whatACapturedGraphHasFreeStaysWithIt() {
        memory.setCap(6 << 20);
        CachingAllocator graph = memory.pool("memory of a captured graph", null);
        take(graph).release(state);
        assertThatThrownBy(() -> take(memory)).isInstanceOf(OutOfMemoryException.class);
        assertThatThrownBy(() -> Storage.scoped(graph, 6 << 20, state, Shape.of(6 << 20), DType.UINT8))
                .isInstanceOf(OutOfMemoryException.class);
        assertThat(memory.stats().allocated()).isGreaterThanOrEqualTo(4 << 20);
        graph.close(state);
        take(memory).release(state);
    }

    @Test
    void sizesThatNoMemoryHoldsAreRefused() {
        CachingAllocator pool = memory.pool("memory of a stream", new Side(5));
        take(pool).release(state);
        take(memory).release(state);
        for (long bytes = Long.MAX_VALUE; bytes > Long.MAX_VALUE - (5 << 20); bytes -= 40_955) {
            long size = bytes;
            assertThatThrownBy(() -> Storage.scoped(pool, size, state, Shape.of(size), DType.UINT8))
                    .isInstanceOf(OutOfMemoryException.class);
        }
    }
}
