// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.backend.Backend;
import dev.merapi.backend.Backends;
import dev.merapi.device.Memory;
import dev.merapi.memory.RawAllocator;
import dev.merapi.memory.Segment;
import dev.merapi.op.Definition;
import dev.merapi.op.Kernel;
import dev.merapi.op.ReadyKernel;
import dev.merapi.ops.CopyOps;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Reading and writing tensors on a device whose memory Java cannot see: all goes through pieces. */
class UnseenMemoryTest {
    private static final DeviceType TYPE = DeviceType.register("unseen");
    private static final Device DEVICE = Device.of(TYPE, 0);
    private static volatile boolean available;

    /** Heap memory behind made-up addresses. */
    private static final class Hidden implements RawAllocator, Backend {
        private final TreeMap<Long, ByteBuffer> memory = new TreeMap<>();
        private long next = 1 << 20;

        @Override
        public synchronized Segment allocate(long byteSize) {
            Segment segment = new Segment(null, next, byteSize);
            memory.put(next, ByteBuffer.allocate((int) byteSize).order(ByteOrder.nativeOrder()));
            next += byteSize + 4096;
            return segment;
        }

        @Override
        public synchronized void free(Segment segment) {
            memory.remove(segment.address());
        }

        @Override
        public long defaultCap() {
            return 1 << 30;
        }

        @Override
        public boolean isJavaVisible() {
            return false;
        }

        @Override
        public DeviceType deviceType() {
            return TYPE;
        }

        @Override
        public @Nullable Throwable unavailableBecause() {
            return available ? null : new IllegalStateException("only there for its own test");
        }

        @Override
        public String description() {
            return "unseen";
        }

        @Override
        public RawAllocator memory(int index) {
            return this;
        }

        @Override
        public @Nullable ReadyKernel<?, ?> kernel(Definition<?, ?> op, @Nullable DType dtype) {
            boolean copies = op.name().equals("merapi::cast") || op.name().equals("merapi::copy_");
            Kernel<CopyOps.CopyArgs, Tensor> kernel = (a, out) -> strided(a.x(), out);
            return copies ? kernel : null;
        }

        @Override
        public void copy(Tensor source, Tensor target) {
            assertThat(source.isContiguous() && target.isContiguous()).isTrue();
            strided(source, target);
        }

        private synchronized void strided(Tensor from, Tensor to) {
            int width = from.dtype().byteSize();
            ByteBuffer source = bytes(from);
            ByteBuffer target = bytes(to);
            for (long i = 0; i < from.numel(); i++) {
                int a = (int) position(from.layout(), i) * width;
                int b = (int) position(to.layout(), i) * width;
                for (int k = 0; k < width; k++) {
                    target.put(b + k, source.get(a + k));
                }
            }
        }

        private ByteBuffer bytes(Tensor t) {
            if (t.device() == Device.CPU) {
                ByteBuffer raw = TENSORS.storage(t).rawBuffer();
                int at = TENSORS.storage(t).bufferOffset()
                        + (int) t.layout().offset() * t.dtype().byteSize();
                return raw.slice(at, raw.capacity() - at);
            }
            Map.Entry<Long, ByteBuffer> segment = memory.floorEntry(t.address());
            int at = (int) (t.address() - segment.getKey());
            return segment.getValue().slice(at, segment.getValue().capacity() - at);
        }

        private static long position(Layout layout, long i) {
            long at = 0;
            long rest = i;
            for (int d = layout.rank() - 1; d >= 0; d--) {
                at += rest % layout.size(d) * layout.stride(d);
                rest /= layout.size(d);
            }
            return at;
        }
    }

    @BeforeAll
    static void register() {
        available = true;
        Backends.register(new Hidden());
    }

    /** A device that only copies is of no use to other tests, which try every device that there is. */
    @AfterAll
    static void withdraw() {
        available = false;
        Backends.register(new Hidden());
    }

    @Test
    void elementsTravelBothWays() {
        Tensor x = Tensor.of(new float[] {1, 2, 3, 4, 5, 6}, 2, 3).to(DEVICE);
        assertThat(x.device()).isSameAs(DEVICE);
        assertThat(x.toFloatArray()).containsExactly(1, 2, 3, 4, 5, 6);
        assertThat(x.t().toIntArray()).containsExactly(1, 4, 2, 5, 3, 6);
        assertThat(x.at(1, 2).item()).isEqualTo(6);
        assertThat(x).hasToString("[[1., 2., 3.],\n [4., 5., 6.]]  float32[2, 3] unseen:0");
        x.slice(1, 0, 2).copyFrom(-1f, -2, -3, -4);
        assertThat(x.toFloatArray()).containsExactly(-1, -2, 3, -3, -4, 6);
    }

    @Test
    void largeOnesGoInPiecesAndLeaveNothing() {
        int n = 5_000_000;
        byte[] values = new byte[n];
        for (int i = 0; i < n; i++) {
            values[i] = (byte) (i % 251);
        }
        try (Scope scope = Scope.open()) {
            Tensor x = TENSORS.allocate(Shape.of(2, n / 2), DType.UINT8, DEVICE);
            long cpu = Memory.stats(Device.CPU).allocated();
            x.copyFrom(toInts(values));
            assertThat(x.toByteArray()).isEqualTo(values);
            assertThat(x.toString()).contains("...");
            // Less is possible: tensors that earlier tests dropped may be collected meanwhile.
            assertThat(Memory.stats(Device.CPU).allocated()).isLessThanOrEqualTo(cpu);
        }
    }

    private static int[] toInts(byte[] values) {
        int[] ints = new int[values.length];
        for (int i = 0; i < ints.length; i++) {
            ints[i] = values[i];
        }
        return ints;
    }
}
