// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.op.Op;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DeviceType;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;
import org.openjdk.jmh.infra.Blackhole;

/** What does a call cost besides its arithmetic? Nanoseconds per op without gradient; bytes per op with {@code -prof gc}. */
@State(org.openjdk.jmh.annotations.Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class DispatchOverheadBenchmark {
    private static final int OPS = 64;

    public record Two(Tensor x, Tensor y) {}

    private static final Op<Two, Tensor> USER_OP = Op.define("bench::midpoint", Two.class, Tensor.class)
            .shape(a -> Tensor.meta(a.x()))
            .kernel(DeviceType.CPU, DispatchOverheadBenchmark::midpoint)
            .register();

    @Param({"8", "64", "512", "4096", "32768", "65536"})
    int size;

    private Tensor x;
    private Tensor y;

    private static void midpoint(Two a, Tensor out) {
        Elements x = Elements.of(a.x());
        Elements y = Elements.of(a.y());
        Elements z = Elements.of(out);
        for (long i = 0; i < z.numel(); i++) {
            z.setDouble(i, (x.getDouble(i) + y.getDouble(i)) / 2);
        }
    }

    @Setup
    public void setup() {
        x = Data.tensor(1, size);
        y = Data.tensor(2, size);
        float[] a = Data.values(1, size);
        float[] b = Data.values(2, size);
        try (Scope scope = Scope.open()) {
            Data.requireClose("add", x.add(y), i -> a[(int) i] + b[(int) i], 0);
            Tensor middle = USER_OP.call(new Two(x, y));
            Data.requireClose("midpoint", middle, i -> ((double) a[(int) i] + b[(int) i]) / 2, 1e-7);
        }
    }

    @Benchmark
    @OperationsPerInvocation(OPS)
    public void addInScope(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            for (int i = 0; i < OPS; i++) {
                sink.consume(x.add(y));
            }
        }
    }

    /** A scope for every op: the price of opening and closing one. */
    @Benchmark
    public void addInScopeOfItsOwn(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            sink.consume(x.add(y));
        }
    }

    /** Closed by hand. */
    @Benchmark
    public void addThenClose(Blackhole sink) {
        try (Tensor z = x.add(y)) {
            sink.consume(z);
        }
    }

    /** Left to the garbage collector. */
    @Benchmark
    public Tensor addUnscoped() {
        return x.add(y);
    }

    /** A user's op with one kernel in plain Java. */
    @Benchmark
    @OperationsPerInvocation(OPS)
    public void userOpInScope(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            for (int i = 0; i < OPS; i++) {
                sink.consume(USER_OP.call(new Two(x, y)));
            }
        }
    }
}
