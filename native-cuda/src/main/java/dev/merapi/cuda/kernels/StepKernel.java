// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import dev.merapi.cuda.launch.KernelFunction;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.print.StepPrinter;
import dev.merapi.cuda.runtime.Arguments;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.op.Kernel;
import dev.merapi.ops.StepOp;
import dev.merapi.ops.code.StepCode;
import dev.merapi.tensor.Tensor;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.jspecify.annotations.Nullable;

/** An optimiser's step by its formula: a launch goes over as many parameters as its arguments can name. */
public final class StepKernel implements Kernel<StepOp.Args, Void> {
    /** Bytes of arguments that every device takes. */
    private static final int FEW = 4000;

    private record Key(StepCode.Specialized code, int tensors, int device, String entry) {}

    private final String op;
    private final StepCode code;
    private final Kernels kernels;
    private final ConcurrentMap<Key, KernelFunction> functions = new ConcurrentHashMap<>();

    public StepKernel(String op, StepCode code, Kernels kernels) {
        this.op = op;
        this.code = code;
        this.kernels = kernels;
    }

    @Override
    public void run(StepOp.Args a, Void none) {
        int n = a.params().size();
        int device = a.params().get(0).device().index();
        StepCode.Specialized s = code.specialize(
                a.params().get(0).dtype(), a.grads().get(0).dtype(), !a.master().isEmpty(), a.gradScale() != null);
        int capacity = capacity(FEW, s.hasMaster());
        int most = kernels.runtime().argumentBytes(device);
        if (n > capacity && most > 4 * FEW) {
            capacity = capacity(4 * FEW, s.hasMaster());
        }
        for (int from = 0; from < n; from += capacity) {
            int to = Math.min(n, from + capacity);
            long chunks = 0;
            for (int i = from; i < to; i++) {
                chunks += chunks(a.params().get(i));
            }
            if (chunks > 0) {
                launch(
                        new Key(s, capacity, device, "step"),
                        a,
                        from,
                        to,
                        kernels.spread(device, chunks * StepPrinter.THREADS, StepPrinter.THREADS));
            }
            if (!a.steps().isEmpty()) {
                launch(
                        new Key(s, capacity, device, "counted"),
                        a,
                        from,
                        to,
                        CudaRuntime.Grid.of(1, StepPrinter.THREADS));
            }
        }
    }

    private int capacity(int bytes, boolean master) {
        int head = StepPrinter.HEAD + code.settings() + 1;
        return (bytes / Long.BYTES - head) / StepPrinter.words(code, master);
    }

    private static long chunks(Tensor t) {
        return (t.numel() + StepPrinter.CHUNK - 1) / StepPrinter.CHUNK;
    }

    private void launch(Key key, StepOp.Args a, int from, int to, CudaRuntime.Grid grid) {
        KernelFunction function = functions.get(key);
        if (function == null) {
            function = kernels.function(key.device, StepPrinter.source(op, code, key.code, key.tensors), key.entry);
            functions.put(key, function);
        }
        boolean stepped = key.entry.equals("step");
        Arguments out = Arguments.begin().next().word(to - from);
        long chunks = 0;
        for (int i = from; i < to; i++) {
            chunks += chunks(a.params().get(i));
        }
        out.word(chunks);
        word(out, "rate", a.rate(), false);
        word(out, "gradScale", a.gradScale(), false);
        word(out, "skip", a.skip(), false);
        for (Number setting : a.settings()) {
            out.real(setting.doubleValue());
        }
        out.real(a.weightDecay());
        int n = a.params().size();
        chunks = 0;
        for (int i = from; i < to; i++) {
            word(out, "parameter", a.params().get(i), stepped);
            if (!a.master().isEmpty()) {
                word(out, "master", a.master().get(i), stepped);
            }
            for (int k = 0; k < code.states(); k++) {
                word(out, "state", a.states().get(k * n + i), stepped);
            }
            word(out, "gradient", a.grads().get(i), false);
            word(out, "steps", a.steps().isEmpty() ? null : a.steps().get(i), !stepped);
            out.word(a.params().get(i).numel()).word(chunks);
            chunks += chunks(a.params().get(i));
        }
        int rest = (key.tensors - (to - from)) * StepPrinter.words(code, key.code.hasMaster());
        for (int i = 0; i < rest; i++) {
            out.word(0);
        }
        kernels.launch(op, key.device, function, grid, out);
    }

    private void word(Arguments out, String name, @Nullable Tensor t, boolean written) {
        if (t != null && kernels.runtime().checks()) {
            out.region(name, t, written, false);
        }
        out.word(t == null ? 0 : t.address());
    }
}
