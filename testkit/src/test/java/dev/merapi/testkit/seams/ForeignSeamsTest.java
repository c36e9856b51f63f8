// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.seams;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.autograd.Autograd;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.dispatch.Context;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.io.Safetensors;
import dev.merapi.nn.Linear;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Optimizer;
import dev.merapi.optim.Sgd;
import dev.merapi.state.StateDict;
import dev.merapi.storage.Backstop;
import dev.merapi.storage.CachingAllocator;
import dev.merapi.storage.Storage;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.lang.ref.WeakReference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Memory of others beside the other parts of the engine: what is true of a tensor's own memory is true of it. */
class ForeignSeamsTest {
    @TempDir
    Path folder;

    private static ByteBuffer buffer(float... values) {
        ByteBuffer bytes = ByteBuffer.allocateDirect(4 * values.length).order(ByteOrder.nativeOrder());
        bytes.asFloatBuffer().put(values);
        return bytes;
    }

    private static Tensor foreign(ByteBuffer bytes, Runnable release) {
        CachingAllocator cpu = BackendChoice.allocator(Device.CPU);
        Storage storage = Storage.foreign(cpu, cpu.wrap(bytes), bytes, release);
        return TENSORS.over(storage, Layout.contiguous(Shape.of(bytes.capacity() / 4)), DType.FLOAT32);
    }

    private Tensor mapped(float... values) throws Exception {
        Path file = Files.createTempFile(folder, "mapped", ".bin");
        byte[] bytes = new byte[4 * values.length];
        ByteBuffer.wrap(bytes).order(ByteOrder.nativeOrder()).asFloatBuffer().put(values);
        Files.write(file, bytes);
        return Tensor.map(file, 0, DType.FLOAT32, values.length);
    }

    // ---------------------------------------------------------------- the same numbers

    private static Map<String, Function<Tensor, Tensor>> uses() {
        Map<String, Function<Tensor, Tensor>> uses = new LinkedHashMap<>();
        uses.put("an op", x -> x.exp().sum());
        uses.put("in place", x -> x.mul_(2).add_(x));
        uses.put("a view in place", x -> {
            Tensor unused = x.view(2, 3).select(0, 1).mul_(3);
            return x;
        });
        uses.put("backward", x -> {
            Tensor w = x.detach().requiresGrad(true);
            Autograd.backward(w.mul(w).exp().sum());
            return w.grad();
        });
        uses.put("forward mode", x -> Autograd.jvp(t -> t.sin().mul(t), x, x).tangent());
        uses.put("sgd", x -> stepped(x, p -> new Sgd(p, 0.5, 0.9, true, 0.1)));
        uses.put("adamw", x -> stepped(x, p -> new AdamW(p, 0.5, 0.1)));
        uses.put("a copy into it", x -> x.copy_(Tensor.of(6f, 5, 4, 3, 2, 1)));
        uses.put("values into it", x -> x.copyFrom(6f, 5, 4, 3, 2, 1));
        uses.put("16 bits", x -> x.to(DType.BFLOAT16).mul(x));
        return uses;
    }

    private static Tensor stepped(Tensor x, Function<List<Tensor>, Optimizer> optimizer) {
        Tensor p = x.requiresGrad(true);
        try (Optimizer o = optimizer.apply(List.of(p))) {
            for (int i = 0; i < 3; i++) {
                Autograd.backward(p.mul(p).sum());
                o.step();
                o.zeroGrad();
            }
        }
        return p.detach();
    }

    @Test
    void everyUseGivesWhatOwnMemoryGives() throws Exception {
        float[] values = {1, 2, 3, -1, -2, 0.5f};
        for (boolean checked : new boolean[] {false, true}) {
            boolean before = Context.current().setChecked(checked);
            try {
                for (Map.Entry<String, Function<Tensor, Tensor>> e : uses().entrySet()) {
                    double[] expected = e.getValue()
                            .apply(Tensor.of(values))
                            .to(DType.FLOAT64)
                            .toDoubleArray();
                    double[] wrote = written(Tensor.of(values), e.getValue());
                    AtomicInteger released = new AtomicInteger();
                    ByteBuffer bytes = buffer(values);
                    for (Tensor x : List.of(foreign(bytes, released::incrementAndGet), mapped(values))) {
                        try (Scope scope = Scope.open()) {
                            assertThat(e.getValue().apply(x).to(DType.FLOAT64).toDoubleArray())
                                    .as(e.getKey())
                                    .isEqualTo(expected);
                        }
                        assertThat(x.detach().toDoubleArray()).as(e.getKey()).isEqualTo(wrote);
                        x.setGrad(null);
                    }
                    assertThat(released).hasValue(0);
                    for (int i = 0; i < 6; i++) {
                        assertThat((double) bytes.getFloat(4 * i))
                                .as(e.getKey())
                                .isEqualTo(wrote[i]);
                    }
                }
            } finally {
                Context.current().setChecked(before);
            }
        }
    }

    private static double[] written(Tensor own, Function<Tensor, Tensor> use) {
        Tensor unused = use.apply(own);
        return own.detach().toDoubleArray();
    }

    // ---------------------------------------------------------------- models

    /** Weights that are mapped train as those that are read do, in any floating dtype; the file stays. */
    @Test
    void mappedWeightsTrain() throws Exception {
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16, DType.FLOAT64)) {
            Map<String, Tensor> saved = new LinkedHashMap<>();
            saved.put("w", Tensor.of(1f, -2, 3, 4).to(dtype));
            saved.put("b", Tensor.of(0.5f, 0.25f).to(dtype));
            Path file = folder.resolve(dtype + ".safetensors");
            Safetensors.save(file, saved);
            byte[] before = Files.readAllBytes(file);
            List<double[]> found = new ArrayList<>();
            for (Map<String, Tensor> weights : List.of(Safetensors.map(file), Safetensors.load(file))) {
                List<Tensor> leaves =
                        weights.values().stream().map(t -> t.requiresGrad(true)).toList();
                try (Optimizer adam = new AdamW(leaves, 0.01, 0.1)) {
                    for (int i = 0; i < 5; i++) {
                        try (Scope scope = Scope.open()) {
                            Autograd.backward(leaves.get(0)
                                    .square()
                                    .sum()
                                    .add(leaves.get(1).exp().sum()));
                            adam.step();
                            adam.zeroGrad();
                        }
                    }
                }
                leaves.forEach(t -> found.add(t.detach().to(DType.FLOAT64).toDoubleArray()));
                leaves.forEach(Tensor::close);
            }
            assertThat(found.get(0)).isEqualTo(found.get(2));
            assertThat(found.get(1)).isEqualTo(found.get(3));
            assertThat(Files.readAllBytes(file)).isEqualTo(before);
        }
    }

    /** A model that loads a mapped file copies it: the mapping may go. */
    @Test
    void modelsLoadMappedFiles() throws Exception {
        Linear model = new Linear(3, 2);
        Path file = folder.resolve("linear.safetensors");
        Safetensors.save(file, model.stateDict());
        Linear other = new Linear(3, 2);
        Map<String, Tensor> mapped = Safetensors.map(file);
        other.loadStateDict(StateDict.of(mapped));
        mapped.values().forEach(Tensor::close);
        assertThat(other.weight().detach().toFloatArray())
                .isEqualTo(model.weight().detach().toFloatArray());
        other.to(DType.FLOAT64);
        assertThat(TENSORS.storage(other.weight()).isForeign()).isFalse();
    }

    // ---------------------------------------------------------------- how long it lives

    @Test
    void theOwnerStaysReachableAsLongAsItIsUsed() {
        AtomicInteger released = new AtomicInteger();
        List<Tensor> kept = new ArrayList<>();
        WeakReference<ByteBuffer> owner = lost(kept, released);
        for (int i = 0; i < 3; i++) {
            Backstop.collectNow();
        }
        assertThat(owner.get()).isNotNull();
        assertThat(kept.get(0).toFloatArray()).containsExactly(2, 3);
        kept.get(0).close();
        assertThat(released).hasValue(1);
        kept.clear();
        for (int i = 0; i < 50 && owner.get() != null; i++) {
            Backstop.collectNow();
        }
        assertThat(owner.get()).isNull();
    }

    /** Only a view is kept, the tensor itself is dropped. */
    private static WeakReference<ByteBuffer> lost(List<Tensor> kept, AtomicInteger released) {
        ByteBuffer bytes = buffer(1, 2, 3);
        Tensor t = foreign(bytes, released::incrementAndGet);
        kept.add(t.slice(0, 1, 3));
        t.close();
        return new WeakReference<>(bytes);
    }

    /** The owner destroys what is in its memory when it gets it back: no call of any thread sees that. */
    @Test
    void nobodySeesItAfterItWasGivenBack() throws Exception {
        int rounds = 200;
        int n = 4096;
        for (int round = 0; round < rounds; round++) {
            boolean checked = round % 4 == 3; // looks at arguments again after the call, when they may be closed
            ByteBuffer bytes = ByteBuffer.allocateDirect(4 * n).order(ByteOrder.nativeOrder());
            for (int i = 0; i < n; i++) {
                bytes.putFloat(4 * i, 1);
            }
            AtomicInteger released = new AtomicInteger();
            Tensor t = foreign(bytes, () -> {
                for (int i = 0; i < n; i++) {
                    bytes.putFloat(4 * i, Float.NaN);
                }
                released.incrementAndGet();
            });
            CountDownLatch start = new CountDownLatch(1);
            List<String> wrong = java.util.Collections.synchronizedList(new ArrayList<>());
            List<Thread> threads = new ArrayList<>();
            for (int k = 0; k < 2; k++) {
                boolean view = k == 1;
                threads.add(new Thread(() -> {
                    try {
                        Context.current().setChecked(checked);
                        start.await();
                        for (int i = 0; i < 20; i++) {
                            try (Tensor v = view ? t.slice(0, 1, n) : t.add(0);
                                    Tensor sum = v.sum()) {
                                if (sum.item() != (view ? n - 1 : n)) {
                                    wrong.add("sum " + sum.item());
                                }
                            }
                        }
                    } catch (ClosedTensorException e) {
                        // closed in time
                    } catch (InterruptedException | RuntimeException e) {
                        wrong.add(e.toString());
                    }
                }));
            }
            threads.forEach(Thread::start);
            start.countDown();
            if (round % 2 == 0) {
                Thread.onSpinWait();
            }
            t.close();
            for (Thread thread : threads) {
                thread.join();
            }
            assertThat(wrong).isEmpty();
            for (int i = 0; i < 100 && released.get() == 0; i++) {
                Tensor unused = Tensor.of(1f).add(1); // whoever calls next takes back what waited
                Thread.sleep(1);
            }
            assertThat(released).hasValue(1);
        }
    }
}
