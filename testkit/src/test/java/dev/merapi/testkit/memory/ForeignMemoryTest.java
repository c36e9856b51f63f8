// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.memory;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.device.Memory;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.error.DTypeException;
import dev.merapi.error.DeviceException;
import dev.merapi.error.ShapeException;
import dev.merapi.io.Safetensors;
import dev.merapi.memory.Segment;
import dev.merapi.storage.Backstop;
import dev.merapi.storage.CachingAllocator;
import dev.merapi.storage.Storage;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Memory that others own: given back once, whoever was last; never counted, never handed on; files by mapping. */
class ForeignMemoryTest {
    @TempDir
    Path folder;

    private static CachingAllocator cpu() {
        return BackendChoice.allocator(Device.CPU);
    }

    private static ByteBuffer buffer(float... values) {
        ByteBuffer bytes = ByteBuffer.allocateDirect(4 * values.length).order(ByteOrder.nativeOrder());
        bytes.asFloatBuffer().put(values);
        return bytes;
    }

    /** A float32 tensor over a fresh buffer; counts how often it was given back. In no scope. */
    private static Tensor foreign(AtomicInteger released, float... values) {
        ByteBuffer bytes = buffer(values);
        Segment segment = cpu().wrap(bytes);
        Storage storage = Storage.foreign(cpu(), segment, bytes, released::incrementAndGet);
        return TENSORS.over(storage, Layout.contiguous(Shape.of(values.length)), DType.FLOAT32);
    }

    // ---------------------------------------------------------------- once

    @Test
    void theLastShareGivesItBack() {
        AtomicInteger released = new AtomicInteger();
        Tensor t = foreign(released, 1, 2, 3, 4);
        Tensor view = t.slice(0, 1, 3);
        t.close();
        t.close();
        assertThat(released).hasValue(0);
        assertThat(view.toFloatArray()).containsExactly(2, 3);
        Tensor w = Tensor.of(5f, 6).requiresGrad(true);
        Tensor y = w.mul(view).sum(); // saves the view
        view.close();
        assertThat(released).hasValue(0);
        Autograd.backward(y);
        assertThat(w.grad().toFloatArray()).containsExactly(2, 3);
        assertThat(released).hasValue(1);
        assertThatThrownBy(view::toFloatArray).isInstanceOf(ClosedTensorException.class);
        Backstop.collectNow();
        assertThat(released).hasValue(1);
    }

    @Test
    void aScopeGivesItBack() {
        AtomicInteger released = new AtomicInteger();
        try (Scope scope = Scope.open()) {
            Tensor t = TENSORS.joinScope(foreign(released, 1, 2), dev.merapi.dispatch.Context.current());
            assertThat(t.add(1).toFloatArray()).containsExactly(2, 3);
            assertThat(released).hasValue(0);
        }
        assertThat(released).hasValue(1);
    }

    @Test
    void theCollectorGivesItBack() {
        AtomicInteger released = new AtomicInteger();
        for (int i = 0; i < 10; i++) {
            assertThat(foreign(released, i, 2).slice(0, 0, 1).toFloatArray()).containsExactly(i);
        }
        for (int i = 0; i < 20 && released.get() < 10; i++) {
            Backstop.collectNow();
        }
        assertThat(released).hasValue(10);
    }

    @Test
    void afterAnOpThatFailed() {
        AtomicInteger released = new AtomicInteger();
        try (Tensor t = foreign(released, 1, 2, 3)) {
            assertThatThrownBy(() -> t.add(Tensor.ones(2))).isInstanceOf(ShapeException.class);
            assertThatThrownBy(() -> t.indexSelect(0, Tensor.of(7L))).isInstanceOf(ShapeException.class);
            assertThat(released).hasValue(0);
        }
        assertThat(released).hasValue(1);
    }

    @Test
    void anOwnerThatThrowsIsForTheLog() {
        ByteBuffer bytes = buffer(1, 2);
        Segment segment = cpu().wrap(bytes);
        AtomicInteger released = new AtomicInteger();
        try (Scope scope = Scope.open()) {
            Tensor before = TENSORS.joinScope(foreign(released, 1), dev.merapi.dispatch.Context.current());
            Storage storage = Storage.foreign(cpu(), segment, bytes, () -> {
                throw new IllegalStateException("thrown on purpose by a test");
            });
            TENSORS.joinScope(
                    TENSORS.over(storage, Layout.contiguous(Shape.of(2)), DType.FLOAT32),
                    dev.merapi.dispatch.Context.current());
            TENSORS.joinScope(foreign(released, 1), dev.merapi.dispatch.Context.current());
            assertThat(before.isClosed()).isFalse();
        }
        assertThat(released).hasValue(2);
    }

    // ---------------------------------------------------------------- buffers

    @Test
    void whatIsWrittenIsSeenOnBothSides() {
        ByteBuffer bytes = buffer(1, 2, 3, 4, 5, 6);
        long allocated = Memory.stats(Device.CPU).allocated();
        try (Scope scope = Scope.open(); // also for what sum() makes: in guard mode the smallest tensor counts
                Tensor t = Tensor.wrap(bytes, DType.FLOAT32, 2, 3)) {
            assertThat(Memory.stats(Device.CPU).allocated()).isEqualTo(allocated);
            bytes.putFloat(0, 7);
            assertThat(t.sum().item()).isEqualTo(27);
            t.mul_(2);
            assertThat(bytes.getFloat(20)).isEqualTo(12);
            TENSORS.storage(t).buffer().putFloat(4, -1);
            assertThat(bytes.getFloat(4)).isEqualTo(-1);
        }
        bytes.position(4);
        try (Tensor t = Tensor.wrap(bytes, DType.FLOAT32, 2);
                Tensor ints = Tensor.wrap(bytes, DType.UINT8, 3)) {
            assertThat(t.toFloatArray()).containsExactly(-1, 6);
            assertThat(ints.shape()).isEqualTo(Shape.of(3));
            assertThat(bytes.position()).isEqualTo(4);
        }
        assertThat(bytes.getFloat(8)).isEqualTo(6);
        assertThat(Memory.stats(Device.CPU).allocated()).isEqualTo(allocated);
    }

    /** What the engine may do with its own memory when nobody else holds it: not with this. */
    @Test
    void theMemoryIsNeverHandedOn() {
        ByteBuffer bytes = buffer(1, 2, 3);
        Tensor w = Tensor.of(1f, 1, 1).requiresGrad(true);
        Tensor y = w.mul(2);
        Tensor gradient = Tensor.wrap(bytes, DType.FLOAT32, 3);
        assertThat(TENSORS.storage(gradient).isExclusive()).isFalse();
        Autograd.backward(y.mul(gradient).sum());
        gradient.close();
        w.grad().fill_(9);
        Tensor x = Tensor.wrap(bytes, DType.FLOAT32, 3);
        Tensor z = w.mul(x).exp();
        x.close();
        Autograd.backward(z.sum());
        assertThat(bytes.getFloat(0)).isEqualTo(1);
        assertThat(bytes.getFloat(8)).isEqualTo(3);
        Tensor leaf = Tensor.wrap(bytes, DType.FLOAT32, 3).requiresGrad(true);
        leaf.setGrad(Tensor.of(1f, 1, 1));
        try (var sgd = new dev.merapi.optim.Sgd(java.util.List.of(leaf), 1)) {
            sgd.step(); // trains the memory of the owner
        }
        assertThat(bytes.getFloat(8)).isEqualTo(2);
    }

    @Test
    void whatDoesNotFitIsRefused() throws IOException {
        ByteBuffer bytes = buffer(1, 2, 3);
        assertThatThrownBy(() -> Tensor.wrap(bytes, DType.FLOAT32, 4))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("16 bytes")
                .hasMessageContaining("12");
        assertThatThrownBy(() -> Tensor.wrap(bytes, DType.FLOAT32, -1)).isInstanceOf(ShapeException.class);
        assertThatThrownBy(() -> Tensor.wrap(bytes, DType.FLOAT64, 1L << 61)).isInstanceOf(ShapeException.class);
        assertThatThrownBy(() -> Tensor.wrap(bytes, DType.BOOL, 4)).isInstanceOf(DTypeException.class);
        assertThatThrownBy(() -> Tensor.wrap(bytes.asReadOnlyBuffer(), DType.FLOAT32, 1))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("read-only");
        AtomicInteger released = new AtomicInteger();
        for (long address : new long[] {0, -8, Long.MAX_VALUE - 7}) {
            assertThatThrownBy(() ->
                            Tensor.over(address, DType.FLOAT32, Shape.of(1 << 20), null, released::incrementAndGet))
                    .as(Long.toHexString(address))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("over: ");
        }
        Path file = Files.write(folder.resolve("f"), new byte[16]);
        for (long offset : new long[] {-4, 4, Long.MAX_VALUE}) {
            assertThatThrownBy(() -> Tensor.map(file, offset, DType.FLOAT32, 4)).isInstanceOf(ShapeException.class);
        }
        assertThatThrownBy(() -> Tensor.map(file, 2, DType.FLOAT32, 2)).hasMessageContaining("aligned");
        assertThatThrownBy(() -> Tensor.map(folder.resolve("none"), 0, DType.FLOAT32, 2))
                .isInstanceOf(IOException.class);
        assertThat(Tensor.map(file, 16, DType.FLOAT32, 0, 3).numel()).isZero();
        try (Tensor t = Tensor.wrap(ByteBuffer.allocateDirect(0), DType.FLOAT32, 0)) {
            assertThat(t.sum().item()).isZero();
        }
        assertThat(released).hasValue(0);
    }

    /** Only where kernels are native: addresses, and no buffers of the Java heap. */
    @Test
    void addresses() {
        Tensor own = Tensor.of(1f, 2, 3, 4, 5, 6);
        long address = TENSORS.storage(own).address();
        Assumptions.assumeTrue(address != 0, "plain Java sees no addresses");
        AtomicInteger released = new AtomicInteger();
        Tensor t = Tensor.over(address, DType.FLOAT32, Shape.of(2, 3), own, released::incrementAndGet);
        try (Tensor turned = t.t()) {
            assertThat(turned.contiguous().toFloatArray()).containsExactly(1, 4, 2, 5, 3, 6);
        }
        t.add_(1);
        assertThat(own.toFloatArray()).containsExactly(2, 3, 4, 5, 6, 7);
        t.close();
        assertThat(released).hasValue(1);
        assertThatThrownBy(() -> Tensor.over(address + 2, DType.FLOAT32, Shape.of(2), null, () -> {}))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("aligned");
        assertThatThrownBy(() -> Tensor.wrap(ByteBuffer.allocate(8), DType.FLOAT32, 2))
                .isInstanceOf(DeviceException.class)
                .hasMessageContaining("allocateDirect");
        ByteBuffer twice = buffer(1, 2, 3, 4);
        Tensor a = Tensor.wrap(twice, DType.FLOAT32, 4);
        Tensor b = Tensor.wrap(twice.slice(4, 12), DType.FLOAT32, 3);
        assertThat(TENSORS.storage(a).overlaps(TENSORS.storage(b))).isTrue();
        assertThat(TENSORS.storage(a).overlaps(TENSORS.storage(Tensor.wrap(buffer(1), DType.FLOAT32, 1))))
                .isFalse();
    }

    // ---------------------------------------------------------------- files

    @Test
    void filesOpenByMapping() throws IOException {
        Map<String, Tensor> saved = new LinkedHashMap<>();
        saved.put("w", Tensor.of(1f, 2, 3, 4, 5, 6).view(2, 3));
        saved.put("half", Tensor.of(1f, -2).to(DType.BFLOAT16));
        saved.put("count", Tensor.of(3L, 4));
        saved.put("mask", Tensor.of(1f, 0).ne(0));
        saved.put("none", Tensor.zeros(0, 3));
        Path file = folder.resolve("m.safetensors");
        Safetensors.save(file, saved);
        byte[] before = Files.readAllBytes(file);
        long allocated = Memory.stats(Device.CPU).allocated();
        Map<String, Tensor> mapped = Safetensors.map(file);
        assertThat(mapped.keySet()).containsExactlyInAnyOrderElementsOf(saved.keySet());
        saved.forEach((name, t) -> {
            Tensor m = mapped.get(name);
            assertThat(m.describe()).isEqualTo(t.describe());
            assertThat(m.to(DType.FLOAT64).toDoubleArray())
                    .isEqualTo(t.to(DType.FLOAT64).toDoubleArray());
        });
        assertThat(TENSORS.storage(mapped.get("w")).isForeign()).isTrue();
        assertThat(TENSORS.storage(mapped.get("half")).isForeign()).isTrue();
        assertThat(TENSORS.storage(mapped.get("mask")).isForeign()).isFalse();
        // In place, and by training: a private copy of the page.
        mapped.get("w").mul_(10);
        assertThat(mapped.get("w").toFloatArray()).containsExactly(10, 20, 30, 40, 50, 60);
        assertThat(Files.readAllBytes(file)).isEqualTo(before);
        // Replaced as savers do it: the mapped one is the old one.
        saved.put("w", Tensor.zeros(2, 3));
        Safetensors.save(file, saved);
        assertThat(mapped.get("count").toLongArray()).containsExactly(3, 4);
        mapped.values().forEach(Tensor::close);
        assertThatThrownBy(() -> mapped.get("w").sum()).isInstanceOf(ClosedTensorException.class);
        assertThat(Memory.stats(Device.CPU).allocated()).isLessThanOrEqualTo(allocated + 4096);
        // A file that nobody may write is mapped by native code, and read elsewhere.
        assertThat(file.toFile().setWritable(false)).isTrue();
        try (Tensor w = Safetensors.open(file).map("w")) {
            assertThat(w.toFloatArray()).containsOnly(0);
        }
    }

    /** Beyond 2 GiB: 3 GiB of a sparse file in one tensor with native kernels, refused without. */
    @Test
    void filesOfMoreThanTwoGib() throws IOException {
        Assumptions.assumeTrue(
                Boolean.getBoolean("merapi.test.large"), "maps a sparse file of 3 GiB; -Dmerapi.test.large=true");
        Path file = folder.resolve("large");
        long n = 3L << 28;
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            f.setLength(4 * n);
            f.seek(4 * (n - 1));
            f.write(new byte[] {0, 0, (byte) 0x80, 0x3f});
        }
        if (TENSORS.storage(Tensor.ones(1)).address() == 0) {
            assertThatThrownBy(() -> Tensor.map(file, 0, DType.FLOAT32, n)).isInstanceOf(DeviceException.class);
        } else {
            try (Tensor t = Tensor.map(file, 0, DType.FLOAT32, n);
                    Tensor end = t.slice(0, n - 3, n)) {
                assertThat(end.add(1).toFloatArray()).containsExactly(1, 1, 2);
                assertThat(t.max().item()).isEqualTo(1);
            }
        }
        try (Tensor end = Tensor.map(file, 4 * (n - 3), DType.FLOAT32, 3)) {
            assertThat(end.toFloatArray()).containsExactly(0, 0, 1);
        }
    }
}
