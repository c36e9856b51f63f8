// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.expr.Exprs;
import dev.merapi.ops.Pointwise;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
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

/** How fast does memory go through pointwise ops, alone and fused? Microseconds per call on float32. */
@State(org.openjdk.jmh.annotations.Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class ElementwiseBenchmark {
    private static final PointwiseOp RELU = Pointwise.define("bench::relu", x -> Exprs.relu(x));
    private static final PointwiseOp MUL_ADD_RELU = Pointwise.define(
            "bench::mul_add_relu", (x, y, z) -> Exprs.relu(x.mul(y).add(z)));
    private static final PointwiseOp EXP = Pointwise.define("bench::exp", x -> Exprs.exp(x));
    private static final PointwiseOp TANH = Pointwise.define("bench::tanh", x -> Exprs.tanh(x));
    private static final PointwiseOp GELU = Pointwise.define("bench::gelu", x -> Exprs.gelu(x));

    @Param({"1048576"})
    int size;

    private Tensor x;
    private Tensor y;
    private Tensor z;

    @Setup
    public void setup() {
        x = Data.tensor(1, size);
        y = Data.tensor(2, size);
        z = Data.tensor(3, size);
        float[] a = Data.values(1, size);
        float[] b = Data.values(2, size);
        float[] c = Data.values(3, size);
        try (Scope scope = Scope.open()) {
            Data.requireClose("add", x.add(y), i -> a[(int) i] + b[(int) i], 0);
            Tensor fused = MUL_ADD_RELU.call(x, y, z);
            Data.requireClose("fused", fused, i -> Math.max(0, (double) a[(int) i] * b[(int) i] + c[(int) i]), 3e-7);
            Data.requireClose("exp", EXP.call(x), i -> Math.exp(a[(int) i]), 3e-7);
            Data.requireClose("tanh", TANH.call(x), i -> Math.tanh(a[(int) i]), 3e-7);
        }
    }

    @Benchmark
    public void add(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            sink.consume(x.add(y));
        }
    }

    /** {@code relu(x * y + z)} as one op: memory is walked over once. */
    @Benchmark
    public void mulAddReluFused(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            sink.consume(MUL_ADD_RELU.call(x, y, z));
        }
    }

    /** The same as three ops. */
    @Benchmark
    public void mulAddReluSeparate(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            sink.consume(RELU.call(x.mul(y).add(z)));
        }
    }

    @Benchmark
    public void exp(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            sink.consume(EXP.call(x));
        }
    }

    @Benchmark
    public void tanh(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            sink.consume(TANH.call(x));
        }
    }

    @Benchmark
    public void gelu(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            sink.consume(GELU.call(x));
        }
    }
}
