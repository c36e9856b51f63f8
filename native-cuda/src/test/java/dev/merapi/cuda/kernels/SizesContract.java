// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.device.Memory;
import dev.merapi.dispatch.Context;
import dev.merapi.nn.Block;
import dev.merapi.nn.Embedding;
import dev.merapi.nn.FeedForward;
import dev.merapi.nn.Init;
import dev.merapi.nn.LayerNorm;
import dev.merapi.nn.MultiheadAttention;
import dev.merapi.nn.Parameter;
import dev.merapi.ops.Losses;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Clip;
import dev.merapi.random.Generator;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.CudaGraph;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/** Kernels at the sizes that people train with, on a GPU; at small ones on the simulator, so that the tests are tested. */
abstract class SizesContract extends ProductSizes {
    // ---------------------------------------------------------------- AdamW

    /** 124 million parameters: one large table, one of an odd size, and small ones. */
    @Test
    void adamW() {
        long[] sizes = isFull() ? new long[] {50304L * 768, 84_934_657, 100_003, 768, 1} : new long[] {1000, 131, 1};
        try (Errors errors = new Errors()) {
            for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16)) {
                try (Scope scope = Scope.open()) {
                    adamW(errors, dtype, sizes);
                }
            }
        }
    }

    /**
     * A step rounds the parameter (in float32, also that of 16 bits, which is rounded once more when it is done), both
     * averages, and what is made of them: each of the terms a few times, 2⁻²⁴ of its size each.
     */
    private void adamW(Errors errors, DType dtype, long[] sizes) {
        double lr = 1e-3;
        double decay = 0.1;
        List<Tensor> parameters = new ArrayList<>();
        List<Tensor> expected = new ArrayList<>();
        List<Tensor> off = new ArrayList<>();
        List<List<Tensor>> gradients = new ArrayList<>();
        for (long n : sizes) {
            Tensor p = random(dtype, n).requiresGrad(true);
            parameters.add(p);
            expected.add(wide(p).copy());
            off.add(zeros(DType.FLOAT64, n));
            gradients.add(List.of(random(dtype, n), random(dtype, n)));
        }
        try (AdamW optimizer = new AdamW(parameters, lr, 0.9, 0.999, 1e-8, decay)) {
            for (int step = 0; step < 2; step++) {
                for (int i = 0; i < sizes.length; i++) {
                    parameters.get(i).setGrad(gradients.get(i).get(step).copy());
                }
                optimizer.step();
            }
        }
        for (int i = 0; i < sizes.length; i++) {
            long part = at(1 << 24, 1 << 20);
            for (long from = 0; from < sizes[i]; from += part) {
                long count = Math.min(part, sizes[i] - from);
                try (Scope scope = Scope.open()) {
                    Tensor p = expected.get(i).narrow(0, from, count);
                    Tensor o = off.get(i).narrow(0, from, count);
                    Tensor m = p.zerosLike();
                    Tensor v = p.zerosLike();
                    Tensor a = p.zerosLike();
                    for (int step = 1; step <= 2; step++) {
                        Tensor g = wide(gradients.get(i).get(step - 1).narrow(0, from, count));
                        m = m.mul(0.9).add(g.mul(0.1));
                        a = a.mul(0.9).add(g.abs().mul(0.1));
                        v = v.mul(0.999).add(g.square().mul(0.001));
                        double first = 1 - Math.pow(0.9, step);
                        Tensor root = v.div(1 - Math.pow(0.999, step))
                                .sqrt()
                                .add(1e-8)
                                .mul(first);
                        o.add_(p.abs().mul(4 * HALF).add(a.div(root).mul(16 * HALF * lr)));
                        p.copy_(p.mul(1 - lr * decay).sub(m.div(root).mul(lr)));
                    }
                    Tensor bound = dtype == DType.FLOAT32 ? o : o.add(p.abs().mul(unit(dtype)));
                    errors.check(
                            "adamw",
                            dtype.shortName(),
                            Long.toString(sizes[i]),
                            p,
                            bound.add(floor(dtype)),
                            parameters.get(i).detach().narrow(0, from, count));
                }
            }
        }
    }

    // ---------------------------------------------------------------- embedding

    /** Half of all tokens are the same, a quarter another, and so on; most rows of the table get nothing, and that is 0. */
    @Test
    void embeddingGradient() {
        long tokens = at(16384, 200);
        long rows = at(50304, 50);
        long width = at(768, 24);
        int distinct = 12;
        try (Errors errors = new Errors()) {
            for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16)) {
                try (Scope scope = Scope.open()) {
                    poison(errors, 3 * rows * width * dtype.byteSize() + (2 << 20));
                    Tensor table = random(dtype, rows, width).requiresGrad(true);
                    long[] which = new long[(int) tokens];
                    for (int i = 0; i < tokens; i++) {
                        which[i] = Math.min(
                                distinct - 1, Long.numberOfTrailingZeros(i * 0x9e3779b97f4a7c15L >>> 40 | 1L << 40));
                    }
                    long[] ids = new long[distinct];
                    for (int i = 0; i < distinct; i++) {
                        ids[i] = i == 0 ? rows - 1 : i == 1 ? 0 : i * (rows / distinct);
                    }
                    Tensor choice = Tensor.of(which, tokens).to(device());
                    Tensor index = Tensor.of(ids, distinct).to(device());
                    Tensor g = random(dtype, tokens, width);
                    Tensor made = Autograd.grad(
                                    List.of(table.embedding(index.indexSelect(0, choice))),
                                    List.of(table),
                                    List.of(g),
                                    Autograd.Graph.FREE,
                                    false)
                            .get(0);
                    Tensor marks = choice.oneHot(distinct, DType.FLOAT64).t();
                    Tensor sums = marks.matmul(wide(g));
                    Tensor bound = marks.matmul(wide(g).abs())
                            .mul(anyOrder(tokens))
                            .add(sums.abs().mul(unit(dtype)))
                            .add(floor(dtype));
                    Tensor nothing = zeros(DType.FLOAT64, rows, width);
                    errors.check(
                            "embedding_gradient",
                            dtype.shortName(),
                            tokens + " into " + rows + "x" + width,
                            nothing.indexAdd(0, index, sums),
                            nothing.indexAdd(0, index, bound),
                            made);
                }
            }
        }
    }

    // ---------------------------------------------------------------- more than 2^31 elements

    /** In parts of a size that other tests cover, everything must be the same, bit for bit. */
    @Test
    void moreElementsThanAnIntCounts() {
        long n = at(1L << 31, 1 << 12) + 78;
        long part = at(1L << 28, 1000);
        long needed = 16 * n;
        long cap = Memory.stats(device()).cap();
        assumeTrue(
                cap > needed,
                "skipped: needs " + (needed >> 30) + " GiB, and the cap of " + device() + " is " + (cap >> 30));
        try (Errors errors = new Errors();
                Scope scope = Scope.open()) {
            poison(errors, 6 * n + (2 << 20));
            Tensor x = random(DType.BFLOAT16, n);
            try (Tensor y = x.mul(x).add(x)) {
                for (long at = 0; at < n; at += part) {
                    try (Scope inner = Scope.open()) {
                        Tensor c = x.narrow(0, at, Math.min(part, n - at)).copy();
                        errors.same("many_pointwise", "bf16", n + "", c.mul(c).add(c), y.narrow(0, at, c.numel()));
                    }
                }
            }
            try (Tensor y = x.view(2, n / 2).t().contiguous()) {
                for (long at = 0; at < n / 2; at += part) {
                    long count = Math.min(part, n / 2 - at);
                    for (int row = 0; row < 2; row++) {
                        errors.same(
                                "many_copy",
                                "bf16",
                                n + ", transposed",
                                x.narrow(0, row * (n / 2) + at, count),
                                y.narrow(0, at, count).t().narrow(0, row, 1).reshape(-1));
                    }
                }
            }
            // Every sum of some of them is exact in float32, in any order.
            x.close();
            Tensor ones =
                    Tensor.randint(0, 3, Shape.of(n), DType.UINT8, device()).to(DType.FLOAT32);
            ones.sub_(1);
            double expected = 0;
            for (long at = 0; at < n; at += part) {
                try (Scope inner = Scope.open()) {
                    expected += ones.narrow(0, at, Math.min(part, n - at))
                            .copy()
                            .sum()
                            .item();
                }
            }
            errors.same(
                    "many_sum",
                    "f32",
                    n + "",
                    zeros(DType.FLOAT64, 1).add(expected),
                    ones.sum().reshape(1));
        }
    }

    // ---------------------------------------------------------------- a captured step

    private static final class Gpt extends Block {
        private final long vocabulary;
        private final Embedding tokens;
        private final Embedding positions;
        private final LayerNorm norm1;
        private final MultiheadAttention attention;
        private final LayerNorm norm2;
        private final FeedForward forward;

        Gpt(long vocabulary, long context, long width, long heads) {
            this.vocabulary = vocabulary;
            tokens = child("tokens", new Embedding(vocabulary, width));
            positions = child("positions", new Embedding(context, width));
            norm1 = child("norm1", new LayerNorm(width));
            attention = child("attention", new MultiheadAttention(width, heads, true));
            norm2 = child("norm2", new LayerNorm(width));
            forward = child("forward", new FeedForward(width, 4 * width));
            parameters().stream()
                    .map(Parameter::tensor)
                    .filter(p -> p.rank() == 2)
                    .forEach(p -> Init.normal_(p, 0.02));
        }

        Tensor loss(Tensor input, Tensor targets) {
            Tensor x = tokens.forward(input).add(positions.weight().slice(0, 0, input.size(1)));
            x = x.add(attention.forward(norm1.forward(x)));
            x = x.add(forward.forward(norm2.forward(x)));
            return Losses.crossEntropy(x.linear(tokens.weight(), null).view(-1, vocabulary), targets.view(-1));
        }
    }

    /** The step by itself comes first: what the library chooses, it chooses then, and the graph has the same. */
    @Test
    void aCapturedStepHasTheBitsOfTheStep() {
        try (Errors errors = new Errors();
                Scope scope = Scope.open()) {
            for (boolean mixed : isFull() ? new boolean[] {true, false} : new boolean[] {true}) {
                List<Tensor> eager = train(mixed, false);
                List<Tensor> captured = train(mixed, true);
                double first = eager.get(0).narrow(0, 0, 1).sum().item();
                double chance = Math.log(at(50304, 13));
                errors.require(
                        Math.abs(first / chance - 1) < 0.5, "the first loss is " + first + ", by chance " + chance);
                for (int i = 0; i < eager.size(); i++) {
                    String what = i == 0
                            ? "losses"
                            : "parameter " + i + " " + eager.get(i).shape();
                    errors.same("captured_step", mixed ? "bf16" : "f32", what, eager.get(i), captured.get(i));
                }
            }
        }
    }

    /** The losses, then the parameters. */
    private List<Tensor> train(boolean mixed, boolean captured) {
        int steps = 5;
        long vocabulary = at(50304, 13);
        long context = at(1024, 8);
        Generator before = Context.current().setGenerator(new Generator(7));
        try {
            Gpt model = new Gpt(vocabulary, context, at(768, 32), at(12, 2));
            model.to(device());
            Tensor input = zeros(DType.INT64, at(4, 2), context);
            Tensor targets = zeros(DType.INT64, at(4, 2), context);
            Tensor losses = zeros(DType.FLOAT32, steps);
            try (AdamW optimizer = new AdamW(model.parameters(), 1e-3, 0.1)) {
                Supplier<Tensor> body = () -> {
                    Tensor loss;
                    if (mixed) {
                        try (Autocast mode = Autocast.on(device().type(), DType.BFLOAT16)) {
                            loss = model.loss(input, targets);
                        }
                    } else {
                        loss = model.loss(input, targets);
                    }
                    Autograd.backward(loss);
                    optimizer.step(Clip.norm(model.parameters(), 1).scale());
                    optimizer.zeroGrad();
                    return loss.detach();
                };
                try (CudaGraph<Tensor> graph = CudaGraph.of(device(), body).warmup(2)) {
                    for (int step = 0; step < steps; step++) {
                        try (Scope scope = Scope.open()) {
                            Tensor text = Tensor.arange(step, step + input.numel() + 1, 1, DType.INT64, device())
                                    .mul(7919)
                                    .remainder(vocabulary);
                            input.copy_(text.narrow(0, 0, input.numel())
                                    .view(input.shape().toArray()));
                            targets.copy_(text.narrow(0, 1, input.numel())
                                    .view(input.shape().toArray()));
                            losses.narrow(0, step, 1).copy_(captured ? graph.run() : body.get());
                        }
                        assertEquals(captured && step >= 2, graph.isCaptured());
                    }
                }
            }
            List<Tensor> result = new ArrayList<>(List.of(losses));
            model.parameters().forEach(p -> result.add(p.tensor().detach()));
            return result;
        } finally {
            Context.current().setGenerator(before);
        }
    }
}
