// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import java.util.concurrent.TimeUnit;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;
import org.openjdk.jmh.infra.Blackhole;

/** {@link DispatchOverheadBenchmark}, asked of libtorch through its JavaCPP preset. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class TorchDispatchOverheadBenchmark {
    private static final int OPS = 64;

    @Param({"8", "64", "512", "4096", "32768", "65536"})
    int size;

    private Tensor x;
    private Tensor y;

    @Setup
    public void setup() {
        Torch.initialize(1);
        x = Torch.tensor(1, size);
        y = Torch.tensor(2, size);
        float[] a = Data.values(1, size);
        float[] b = Data.values(2, size);
        try (PointerScope scope = new PointerScope()) {
            Torch.requireClose("add", x.add(y), i -> a[(int) i] + b[(int) i], 0);
        }
    }

    @Benchmark
    @OperationsPerInvocation(OPS)
    public void addInScope(Blackhole sink) {
        try (PointerScope scope = new PointerScope();
                NoGradGuard noGrad = new NoGradGuard()) {
            for (int i = 0; i < OPS; i++) {
                sink.consume(x.add(y));
            }
        }
    }

    /** Closed by hand. */
    @Benchmark
    public void addThenClose(Blackhole sink) {
        try (Tensor z = x.add(y)) {
            sink.consume(z);
        }
    }
}
