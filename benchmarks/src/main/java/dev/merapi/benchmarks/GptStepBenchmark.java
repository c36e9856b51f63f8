// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.autograd.Autograd;
import dev.merapi.ops.Attention;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Normalization;
import dev.merapi.optim.AdamW;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * How long does training a small GPT take? Milliseconds for forward, loss, backward and AdamW of {@link GptShape}: 1,024
 * tokens, 0.8 million parameters.
 */
@State(org.openjdk.jmh.annotations.Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 4, time = 1)
@Measurement(iterations = 8, time = 1)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class GptStepBenchmark {
    private final List<Tensor> parameters = new ArrayList<>();
    private Tensor tokens;
    private Tensor targets;
    private AdamW optimizer;

    @Setup
    public void setup() {
        long seed = 0;
        for (GptShape.Parameter p : GptShape.parameters()) {
            parameters.add(Tensor.of(p.values(seed++), p.sizes()).requiresGrad(true));
        }
        tokens = Tensor.of(GptShape.tokens(0), GptShape.BATCH, GptShape.CONTEXT);
        targets = Tensor.of(GptShape.tokens(1));
        optimizer = new AdamW(
                parameters,
                GptShape.LEARNING_RATE,
                GptShape.BETA1,
                GptShape.BETA2,
                GptShape.EPSILON,
                GptShape.WEIGHT_DECAY);
        GptShape.check(this::step);
    }

    @Benchmark
    public float step() {
        try (Scope scope = Scope.open()) {
            optimizer.zeroGrad();
            Tensor loss = Losses.crossEntropy(logits(), targets);
            Autograd.backward(loss);
            optimizer.step();
            return (float) loss.item();
        }
    }

    private Tensor logits() {
        long b = GptShape.BATCH;
        long t = GptShape.CONTEXT;
        long c = GptShape.WIDTH;
        long h = GptShape.HEADS;
        Tensor x = parameters.get(0).embedding(tokens).add(parameters.get(1));
        int p = 2;
        for (int layer = 0; layer < GptShape.LAYERS; layer++, p += GptShape.PER_LAYER) {
            List<Tensor> qkv = linear(norm(x, p), p + 2).split(c, 2);
            Tensor q = qkv.get(0).view(b, t, h, c / h).transpose(1, 2);
            Tensor k = qkv.get(1).view(b, t, h, c / h).transpose(1, 2);
            Tensor v = qkv.get(2).view(b, t, h, c / h).transpose(1, 2);
            Tensor y = Attention.attention(q, k, v, true).transpose(1, 2).reshape(b, t, c);
            x = x.add(linear(y, p + 4));
            x = x.add(linear(linear(norm(x, p + 6), p + 8).gelu(), p + 10));
        }
        return norm(x, p).linear(parameters.get(0), null).view(b * t, GptShape.VOCABULARY);
    }

    private Tensor linear(Tensor x, int p) {
        return x.linear(parameters.get(p), parameters.get(p + 1));
    }

    private Tensor norm(Tensor x, int p) {
        return Normalization.layerNorm(
                x, new long[] {GptShape.WIDTH}, parameters.get(p), parameters.get(p + 1), GptShape.NORM_EPSILON);
    }
}
