// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.util.concurrent.TimeUnit;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.openblas.global.openblas_nolapack;
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

/**
 * What does a matrix product cost above BLAS? Microseconds for float32 {@code m×n×k}, beside {@code cblas_sgemm} of the
 * OpenBLAS preset on the same operands. The last shapes are those of the small GPT: 1,024 tokens through its linear maps.
 */
@State(org.openjdk.jmh.annotations.Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class MatmulBenchmark {
    @Param({
        "64x64x64",
        "128x128x128",
        "256x256x256",
        "512x512x512",
        "1024x1024x1024",
        "2048x2048x2048",
        "1024x384x128",
        "1024x128x128",
        "1024x512x128",
        "1024x128x512",
        "1024x65x128"
    })
    String shape;

    /** The sizes of a shape, and the check of a product by some of its elements. */
    record Sizes(int m, int n, int k) {
        static Sizes parse(String shape) {
            String[] parts = shape.split("x", -1);
            return new Sizes(Integer.parseInt(parts[0]), Integer.parseInt(parts[1]), Integer.parseInt(parts[2]));
        }

        float[] left() {
            return Data.values(1, m * k);
        }

        float[] right() {
            return Data.values(2, k * n);
        }

        /** Compares a diagonal of {@code c} with dot products in double. */
        void check(String what, java.util.function.LongToDoubleFunction c) {
            float[] a = left();
            float[] b = right();
            int count = Math.min(m, n);
            // k rounded products of values below 1 in magnitude: their sum is off by k·2⁻²⁴ at the very most.
            Data.requireClose(
                    what,
                    count,
                    i -> c.applyAsDouble(i * n + i),
                    i -> {
                        double sum = 0;
                        for (int p = 0; p < k; p++) {
                            sum += (double) a[(int) i * k + p] * b[p * n + (int) i];
                        }
                        return sum;
                    },
                    k * 0x1p-24);
        }
    }

    /** Ours. In a state of its own: it sets up BLAS for itself, which the direct call must not see. */
    @State(org.openjdk.jmh.annotations.Scope.Thread)
    public static class Operands {
        Tensor a;
        Tensor b;

        @Setup
        public void setup(MatmulBenchmark benchmark) {
            Sizes s = Sizes.parse(benchmark.shape);
            a = Data.tensor(1, s.m, s.k);
            b = Data.tensor(2, s.k, s.n);
            try (Scope scope = Scope.open()) {
                dev.merapi.tensor.Elements c = dev.merapi.tensor.Elements.of(a.matmul(b));
                s.check("matmul", c::getDouble);
            }
        }
    }

    /** BLAS with nothing around it, on all processors. */
    @State(org.openjdk.jmh.annotations.Scope.Thread)
    public static class Direct {
        Sizes s;
        FloatPointer a;
        FloatPointer b;
        FloatPointer c;

        @Setup
        public void setup(MatmulBenchmark benchmark) {
            s = Sizes.parse(benchmark.shape);
            openblas_nolapack.blas_set_num_threads(Runtime.getRuntime().availableProcessors());
            a = new FloatPointer(s.left());
            b = new FloatPointer(s.right());
            c = new FloatPointer((long) s.m * s.n);
            multiply();
            s.check("cblas_sgemm", c::get);
        }

        void multiply() {
            openblas_nolapack.cblas_sgemm(
                    openblas_nolapack.CblasRowMajor,
                    openblas_nolapack.CblasNoTrans,
                    openblas_nolapack.CblasNoTrans,
                    s.m,
                    s.n,
                    s.k,
                    1,
                    a,
                    s.k,
                    b,
                    s.n,
                    0,
                    c,
                    s.n);
        }
    }

    @Benchmark
    public void matmul(Operands o, Blackhole sink) {
        try (Scope scope = Scope.open()) {
            sink.consume(o.a.matmul(o.b));
        }
    }

    @Benchmark
    public void cblas(Direct d) {
        d.multiply();
    }
}
