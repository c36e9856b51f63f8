// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.autograd.Autograd;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;
import org.openjdk.jmh.infra.Blackhole;

/** What does a tape cost? {@code (x * y).sum().backward()} to both leaves, in a scope; nanoseconds for the whole. */
@State(org.openjdk.jmh.annotations.Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class AutogradOverheadBenchmark {
    @Param({"8"})
    int size;

    private Tensor x;
    private Tensor y;

    @Setup
    public void setup() {
        x = Data.tensor(1, size).requiresGrad(true);
        y = Data.tensor(2, size).requiresGrad(true);
        mulSumBackward();
        float[] a = Data.values(1, size);
        float[] b = Data.values(2, size);
        Data.requireClose("gradient of x", Objects.requireNonNull(x.grad()), i -> b[(int) i], 0);
        Data.requireClose("gradient of y", Objects.requireNonNull(y.grad()), i -> a[(int) i], 0);
    }

    @Benchmark
    public void mulSumBackward() {
        x.setGrad(null);
        y.setGrad(null);
        try (Scope scope = Scope.open()) {
            Autograd.backward(x.mul(y).sum());
        }
    }

    /** The forward half alone, recorded. */
    @Benchmark
    public void mulSumRecorded(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            sink.consume(x.mul(y).sum());
        }
    }

    /** The forward half alone, not recorded. */
    @Benchmark
    public void mulSumNotRecorded(Blackhole sink) {
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.noGrad()) {
            sink.consume(x.mul(y).sum());
        }
    }
}
