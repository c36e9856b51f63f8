// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import java.util.concurrent.TimeUnit;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;
import org.openjdk.jmh.infra.Blackhole;

/** {@link AutogradOverheadBenchmark}, asked of libtorch through its JavaCPP preset. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class TorchAutogradOverheadBenchmark {
    @Param({"8"})
    int size;

    private Tensor x;
    private Tensor y;

    @Setup
    public void setup() {
        Torch.initialize(1);
        x = Torch.tensor(1, size).requires_grad_(true);
        y = Torch.tensor(2, size).requires_grad_(true);
        mulSumBackward();
        float[] a = Data.values(1, size);
        float[] b = Data.values(2, size);
        Torch.requireClose("gradient of x", x.grad(), i -> b[(int) i], 0);
        Torch.requireClose("gradient of y", y.grad(), i -> a[(int) i], 0);
    }

    @Benchmark
    public void mulSumBackward() {
        try (PointerScope scope = new PointerScope()) {
            x.mutable_grad().reset();
            y.mutable_grad().reset();
            x.mul(y).sum().backward();
        }
    }

    /** The forward half alone, recorded. */
    @Benchmark
    public void mulSumRecorded(Blackhole sink) {
        try (PointerScope scope = new PointerScope()) {
            sink.consume(x.mul(y).sum());
        }
    }
}
