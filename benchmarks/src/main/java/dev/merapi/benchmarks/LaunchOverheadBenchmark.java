// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.autograd.Autograd;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;
import org.openjdk.jmh.infra.Blackhole;

/**
 * What the engine costs the host per launch of a CUDA kernel, on a driver whose {@code cuLaunchKernel} returns at once: a
 * real driver's own time comes on top. Needs a C compiler, and no GPU.
 */
@State(org.openjdk.jmh.annotations.Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class LaunchOverheadBenchmark {
    private static final int OPS = 64;

    private Tensor x;
    private Tensor y;
    private Tensor leaf;
    private Tensor matrix;
    private Tensor indices;
    private Tensor square;

    @Setup
    public void setup() throws Exception {
        Device device = NullCuda.install();
        x = Data.tensor(1, 8).to(device);
        y = Data.tensor(2, 8).to(device);
        leaf = Data.tensor(3, 8).to(device).requiresGrad(true);
        matrix = Data.tensor(4, 64).view(8, 8).to(device);
        square = Tensor.zeros(Shape.of(8, 8), DType.FLOAT32, device);
        indices = Tensor.arange(8).to(device);
    }

    /** One launch. */
    @Benchmark
    @OperationsPerInvocation(OPS)
    public void add(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            for (int i = 0; i < OPS; i++) {
                sink.consume(x.add(y));
            }
        }
    }

    /** One launch, in a scope of its own. */
    @Benchmark
    public void addInScopeOfItsOwn(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            sink.consume(x.add(y));
        }
    }

    /** One launch, recorded. */
    @Benchmark
    @OperationsPerInvocation(OPS)
    public void addRecorded(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            for (int i = 0; i < OPS; i++) {
                sink.consume(leaf.add(y));
            }
        }
    }

    /** Operands that are broadcast, so that strides go along. */
    @Benchmark
    @OperationsPerInvocation(OPS)
    public void addBroadcast(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            for (int i = 0; i < OPS; i++) {
                sink.consume(matrix.add(y));
            }
        }
    }

    /** Six launches: product, sum, the seed, both gradients at once, and their accumulation. */
    @Benchmark
    public void mulSumBackward() {
        leaf.setGrad(null);
        try (Scope scope = Scope.open()) {
            Autograd.backward(leaf.mul(y).sum());
        }
    }

    /** One launch of a printed reduction. */
    @Benchmark
    @OperationsPerInvocation(OPS)
    public void sum(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            for (int i = 0; i < OPS; i++) {
                sink.consume(matrix.sum(1));
            }
        }
    }

    /** One launch of a hand-written kernel. */
    @Benchmark
    @OperationsPerInvocation(OPS)
    public void softmax(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            for (int i = 0; i < OPS; i++) {
                sink.consume(matrix.softmax(-1));
            }
        }
    }

    /** One launch that checks its indices. */
    @Benchmark
    @OperationsPerInvocation(OPS)
    public void indexSelect(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            for (int i = 0; i < OPS; i++) {
                sink.consume(matrix.indexSelect(0, indices));
            }
        }
    }

    /** A product of matrices by our own kernel. */
    @Benchmark
    @OperationsPerInvocation(OPS)
    public void matmul(Blackhole sink) {
        try (Scope scope = Scope.open()) {
            for (int i = 0; i < OPS; i++) {
                sink.consume(matrix.matmul(square));
            }
        }
    }
}
