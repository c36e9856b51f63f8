// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import java.util.concurrent.TimeUnit;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
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

/** {@link ElementwiseBenchmark}, asked of libtorch through its JavaCPP preset. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class TorchElementwiseBenchmark {
    @Param({"1048576"})
    int size;

    @Param({"1", "2"})
    int threads;

    private Tensor x;
    private Tensor y;
    private Tensor z;

    @Setup
    public void setup() {
        Torch.initialize(threads);
        x = Torch.tensor(1, size);
        y = Torch.tensor(2, size);
        z = Torch.tensor(3, size);
        float[] a = Data.values(1, size);
        float[] b = Data.values(2, size);
        float[] c = Data.values(3, size);
        try (PointerScope scope = new PointerScope()) {
            Torch.requireClose("add", x.add(y), i -> a[(int) i] + b[(int) i], 0);
            Tensor result = x.mul(y).add(z).relu();
            Torch.requireClose(
                    "mul, add, relu", result, i -> Math.max(0, (double) a[(int) i] * b[(int) i] + c[(int) i]), 3e-7);
        }
    }

    @Benchmark
    public void add(Blackhole sink) {
        try (PointerScope scope = new PointerScope()) {
            sink.consume(x.add(y));
        }
    }

    @Benchmark
    public void mulAddReluSeparate(Blackhole sink) {
        try (PointerScope scope = new PointerScope()) {
            sink.consume(x.mul(y).add(z).relu());
        }
    }

    @Benchmark
    public void exp(Blackhole sink) {
        try (PointerScope scope = new PointerScope()) {
            sink.consume(x.exp());
        }
    }

    @Benchmark
    public void tanh(Blackhole sink) {
        try (PointerScope scope = new PointerScope()) {
            sink.consume(x.tanh());
        }
    }

    @Benchmark
    public void gelu(Blackhole sink) {
        try (PointerScope scope = new PointerScope()) {
            sink.consume(torch.gelu(x));
        }
    }
}
