// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.AdamW;
import org.bytedeco.pytorch.AdamWOptions;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
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

/** {@link GptStepBenchmark}, asked of libtorch through its JavaCPP preset; with its own AdamW. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 4, time = 1)
@Measurement(iterations = 8, time = 1)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class TorchGptStepBenchmark {
    @Param({"1", "2"})
    int threads;

    private final List<Tensor> parameters = new ArrayList<>();
    private Tensor tokens;
    private Tensor targets;
    private AdamW optimizer;

    @Setup
    public void setup() {
        Torch.initialize(threads);
        long seed = 0;
        TensorVector all = new TensorVector();
        for (GptShape.Parameter p : GptShape.parameters()) {
            Tensor t = torch.from_blob(new FloatPointer(p.values(seed++)), p.sizes())
                    .clone();
            t.requires_grad_(true);
            parameters.add(t);
            all.push_back(t);
        }
        tokens = longs(GptShape.tokens(0)).view(GptShape.BATCH, GptShape.CONTEXT);
        targets = longs(GptShape.tokens(1));
        AdamWOptions options = new AdamWOptions(GptShape.LEARNING_RATE);
        // The pointer shows a std::tuple, whose last element comes first in memory; GptShape.check would notice a swap.
        options.betas().put(0, GptShape.BETA2).put(1, GptShape.BETA1);
        options.eps().put(GptShape.EPSILON);
        options.weight_decay().put(GptShape.WEIGHT_DECAY);
        optimizer = new AdamW(all, options);
        GptShape.check(this::step);
    }

    private static Tensor longs(long[] values) {
        TensorOptions options = new TensorOptions(torch.ScalarType.Long);
        return torch.from_blob(new LongPointer(values), new long[] {values.length}, options)
                .clone();
    }

    @Benchmark
    public float step() {
        try (PointerScope scope = new PointerScope()) {
            optimizer.zero_grad();
            Tensor loss = torch.cross_entropy_loss(logits(), targets);
            loss.backward();
            optimizer.step();
            return loss.item_float();
        }
    }

    private Tensor logits() {
        long b = GptShape.BATCH;
        long t = GptShape.CONTEXT;
        long c = GptShape.WIDTH;
        long h = GptShape.HEADS;
        TensorOptional none = new TensorOptional();
        DoubleOptional scale = new DoubleOptional();
        Tensor x = torch.embedding(parameters.get(0), tokens).add(parameters.get(1));
        int p = 2;
        for (int layer = 0; layer < GptShape.LAYERS; layer++, p += GptShape.PER_LAYER) {
            TensorVector qkv = linear(norm(x, p), p + 2).split(c, 2);
            Tensor q = qkv.get(0).view(b, t, h, c / h).transpose(1, 2);
            Tensor k = qkv.get(1).view(b, t, h, c / h).transpose(1, 2);
            Tensor v = qkv.get(2).view(b, t, h, c / h).transpose(1, 2);
            Tensor y = torch.scaled_dot_product_attention(q, k, v, none, 0, true, scale, false);
            y = y.transpose(1, 2).contiguous().view(b, t, c);
            x = x.add(linear(y, p + 4));
            x = x.add(linear(torch.gelu(linear(norm(x, p + 6), p + 8)), p + 10));
        }
        return torch.linear(norm(x, p), parameters.get(0)).view(b * t, GptShape.VOCABULARY);
    }

    private Tensor linear(Tensor x, int p) {
        return torch.linear(x, parameters.get(p), new TensorOptional(parameters.get(p + 1)));
    }

    private Tensor norm(Tensor x, int p) {
        return torch.layer_norm(
                x,
                new long[] {GptShape.WIDTH},
                new TensorOptional(parameters.get(p)),
                new TensorOptional(parameters.get(p + 1)),
                GptShape.NORM_EPSILON,
                false);
    }
}
