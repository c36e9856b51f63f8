// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import static dev.merapi.testkit.OpSamples.samples;

import dev.merapi.op.Op;
import dev.merapi.ops.Attention;
import dev.merapi.ops.Convolution;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Normalization;
import dev.merapi.ops.PointwiseArgs;
import dev.merapi.ops.Pooling;
import dev.merapi.ops.ReduceArgs;
import dev.merapi.ops.SelfAttention;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * Ops that are the backward of others. What they compute is held against finite differences by the forward op's gradient
 * check; here their kernels are held against plain Java and their composition, and their own gradients are checked.
 */
final class BackwardRows {
    private static final long[] ONE = {1, 1};
    private static final long[] NONE = {0, 0};

    private BackwardRows() {}

    static List<OpSamples<?, ?>> all() {
        List<OpSamples<?, ?>> rows = new ArrayList<>();
        rows.addAll(norms());
        rows.addAll(losses());
        rows.addAll(images());
        rows.addAll(pointwise());
        return rows;
    }

    private static List<OpSamples<?, ?>> norms() {
        String together = "the sizes belong together";
        return List.of(
                samples(Normalization.LAYER_NORM_BACKWARD)
                        .sample("[3, 4]", m -> {
                            Tensor x = m.of(new double[] {1, -1, 2, 0.5, 3, 1, -2, 1, 0, 1, 2, 4}, 3, 4);
                            Tensor mean = x.detach().mean(new int[] {1}, false).to(compute(x));
                            Tensor rstd = x.detach()
                                    .to(compute(x))
                                    .var(new int[] {1}, false, false)
                                    .add(1e-5)
                                    .rsqrt();
                            return new Normalization.LayerNormBackward(
                                    m.uniform(-1, 1, 3, 4),
                                    x,
                                    m.uniform(0.5, 1.5, 4),
                                    mean,
                                    rstd,
                                    1,
                                    1e-5,
                                    true,
                                    true,
                                    true);
                        })
                        .skip("offset inputs", "mean and rstd belong to x")
                        .skip("size-1 inputs", "mean and rstd belong to x")
                        .skip("odd sizes", "mean and rstd belong to x")
                        .skip("expanded inputs", "mean and rstd belong to x")
                        .skip(
                                "gradients",
                                "mean and rstd belong to x; composed again by layer_norm's second derivative")
                        .skip("second derivatives", "as above")
                        .skip("empty inputs", together)
                        .skip("0-d inputs", together),
                samples(Normalization.RMS_NORM_BACKWARD)
                        .sample("[3, 4]", m -> {
                            Tensor x = m.of(new double[] {1, -1, 2, 0.5, 3, 1, -2, 1, 0, 1, 2, 4}, 3, 4);
                            Tensor rstd = x.detach()
                                    .to(compute(x))
                                    .square()
                                    .mean(new int[] {1}, false)
                                    .add(1e-5)
                                    .rsqrt();
                            return new Normalization.RmsNormBackward(
                                    m.uniform(-1, 1, 3, 4), x, m.uniform(0.5, 1.5, 4), rstd, 1, 1e-5, true, true);
                        })
                        .skip("expanded inputs", "rstd belongs to x")
                        .skip("size-1 inputs", "rstd belongs to x")
                        .skip("odd sizes", "rstd belongs to x")
                        .skip("gradients", "rstd belongs to x; composed again by rms_norm's second derivative")
                        .skip("second derivatives", "as above")
                        .skip("empty inputs", together)
                        .skip("0-d inputs", together));
    }

    private static dev.merapi.types.DType compute(Tensor x) {
        return x.dtype().computeType();
    }

    private static Losses.CrossEntropyBackward crossEntropy(Maker m) {
        Tensor x = m.uniform(-2, 2, 3, 4);
        Tensor lse = x.detach().to(compute(x)).logSumExp(1);
        return new Losses.CrossEntropyBackward(
                m.uniform(0.5, 1).detach().to(compute(x)),
                x,
                m.indices(new long[] {1, 3, 0}, 3),
                null,
                lse,
                Tensor.of(new double[] {3}).reshape(new long[0]).to(m.device()),
                -100,
                0,
                Losses.Reduction.MEAN);
    }

    private static List<OpSamples<?, ?>> losses() {
        return List.of(
                samples(Losses.CROSS_ENTROPY_BACKWARD)
                        .sample("[3, 4] mean", BackwardRows::crossEntropy)
                        .skip("size-1 inputs", "lse belongs to the logits")
                        .skip("expanded inputs", "lse belongs to the logits")
                        .skip("odd sizes", "lse belongs to the logits")
                        .skip(
                                "gradients",
                                "lse belongs to the logits; composed again by the second derivative of the loss")
                        .skip("second derivatives", "as above")
                        .skip("empty inputs", "lse belongs to the logits")
                        .skip("0-d inputs", "the sizes belong together"),
                samples(Losses.CROSS_ENTROPY_BACKWARD_INTO)
                        .sample("[3, 4] mean", BackwardRows::crossEntropy)
                        .skip("size-1 inputs", "lse belongs to the logits")
                        .skip("expanded inputs", "lse belongs to the logits")
                        .skip("odd sizes", "lse belongs to the logits")
                        .skip("empty inputs", "lse belongs to the logits")
                        .skip("0-d inputs", "the sizes belong together"),
                samples(Losses.NLL_LOSS_BACKWARD)
                        .sample(
                                "[3, 4] sum",
                                m -> new Losses.NllBackward(
                                        m.uniform(0.5, 1),
                                        m.uniform(-3, -1, 3, 4),
                                        m.indices(new long[] {1, -100, 0}, 3),
                                        null,
                                        -100,
                                        Losses.Reduction.SUM))
                        .skip("0-d inputs", "the sizes belong together"),
                samples(Attention.ATTENTION_BACKWARD)
                        .sample("[1, 2, 3, 2] causal", m -> {
                            Tensor q = m.uniform(-1, 1, 1, 2, 3, 2);
                            Tensor k = m.uniform(-1, 1, 1, 2, 3, 2);
                            Tensor v = m.uniform(-1, 1, 1, 2, 3, 2);
                            Attention.Args args = new Attention.Args(q.detach(), k.detach(), v.detach(), true, 0.7);
                            Tensor hidden = Tensor.ones(dev.merapi.types.Shape.of(3, 3), q.dtype(), q.device())
                                    .triu(1)
                                    .ne(0);
                            Tensor scores = args.q()
                                    .matmul(args.k().transpose(-2, -1))
                                    .mul(0.7)
                                    .maskedFill(hidden, Double.NEGATIVE_INFINITY);
                            return new Attention.BackwardArgs(
                                    new Attention.Args(q, k, v, true, 0.7),
                                    scores.softmax(-1).matmul(args.v()),
                                    scores.to(compute(q)).logSumExp(-1),
                                    m.uniform(-1, 1, 1, 2, 3, 2));
                        })
                        .skip("expanded inputs", "out and lse belong to the rest")
                        .skip("odd sizes", "out and lse belong to the rest")
                        .skip("size-1 inputs", "out and lse belong to the rest")
                        .skip(
                                "gradients",
                                "out and lse belong to the rest; composed again by attention's second derivative")
                        .skip("second derivatives", "as above")
                        .skip("empty inputs", "the sizes belong together")
                        .skip("0-d inputs", "the sizes belong together"),
                samples(SelfAttention.SELF_ATTENTION_BACKWARD)
                        .sample("[1, 3, 12], 2 heads, causal", m -> {
                            Tensor qkv = m.uniform(-1, 1, 1, 3, 12);
                            List<Tensor> parts = qkv.detach()
                                    .view(1, 3, 6, 2)
                                    .transpose(1, 2)
                                    .split(2, 1);
                            Tensor hidden = Tensor.ones(dev.merapi.types.Shape.of(3, 3), qkv.dtype(), qkv.device())
                                    .triu(1)
                                    .ne(0);
                            Tensor scores = parts.get(0)
                                    .matmul(parts.get(1).transpose(-2, -1))
                                    .mul(0.7)
                                    .maskedFill(hidden, Double.NEGATIVE_INFINITY);
                            return new SelfAttention.BackwardArgs(
                                    m.uniform(-1, 1, 1, 3, 4),
                                    qkv,
                                    scores.softmax(-1)
                                            .matmul(parts.get(2))
                                            .transpose(1, 2)
                                            .reshape(1, 3, 4),
                                    scores.to(compute(qkv)).logSumExp(-1),
                                    2,
                                    true,
                                    0.7);
                        })
                        .skip("expanded inputs", "out and lse belong to the rest")
                        .skip("odd sizes", "out and lse belong to the rest")
                        .skip("size-1 inputs", "out and lse belong to the rest")
                        .skip(
                                "gradients",
                                "out and lse belong to the rest; composed again by attention's second derivative")
                        .skip("second derivatives", "as above")
                        .skip("empty inputs", "the sizes belong together")
                        .skip("0-d inputs", "the sizes belong together"));
    }

    private static List<OpSamples<?, ?>> images() {
        return List.of(
                samples(Convolution.CONV2D_INPUT_GRADIENT)
                        .sample(
                                "[1, 2, 3, 2]",
                                m -> new Convolution.InputGradient(
                                        m.uniform(-1, 1, 1, 2, 3, 2),
                                        m.uniform(-1, 1, 2, 2, 2, 2),
                                        new long[] {4, 3},
                                        ONE,
                                        NONE,
                                        ONE,
                                        1))
                        .skip("empty inputs", "the sizes belong together"),
                samples(Convolution.CONV2D_WEIGHT_GRADIENT)
                        .sample(
                                "[1, 2, 3, 2]",
                                m -> new Convolution.WeightGradient(
                                        m.uniform(-1, 1, 1, 2, 3, 2),
                                        m.uniform(-1, 1, 1, 2, 4, 3),
                                        new long[] {2, 2},
                                        ONE,
                                        NONE,
                                        ONE,
                                        1))
                        .skip("empty inputs", "the sizes belong together"),
                samples(Pooling.MAX_POOL2D_BACKWARD)
                        .sample(
                                "[1, 1, 2, 2]",
                                m -> new Pooling.MaxPool2dBackward(
                                        m.uniform(-1, 1, 1, 1, 2, 2),
                                        m.indices(new long[] {0, 4, 4, 8}, 1, 1, 2, 2),
                                        new long[] {3, 3},
                                        new long[] {2, 2},
                                        ONE,
                                        NONE,
                                        ONE)),
                samples(Pooling.AVG_POOL2D_BACKWARD)
                        .sample(
                                "[1, 1, 2, 2]",
                                m -> new Pooling.AvgPool2dBackward(
                                        m.uniform(-1, 1, 1, 1, 2, 2),
                                        new long[] {4, 4},
                                        new long[] {2, 2},
                                        new long[] {2, 2},
                                        NONE,
                                        true)));
    }

    @SuppressWarnings("unchecked")
    private static List<OpSamples<?, ?>> pointwise() {
        return List.of(
                samples((Op<PointwiseArgs.XYZ, Tensor>) Ops.named("merapi::var_backward"))
                        .sample(
                                "[2, 3]",
                                m -> new PointwiseArgs.XYZ(
                                        m.uniform(-1, 1, 2, 3),
                                        m.uniform(-1, 1, 2, 3),
                                        m.uniform(-1, 1, 2, 1),
                                        List.of(0.5)))
                        .references(a -> {
                            Grid x = Grid.of(a.x());
                            Grid y = Grid.of(a.y());
                            Grid z = Grid.of(a.z());
                            return Grid.filled(
                                    i -> x.broadcastAt(i) * (y.broadcastAt(i) - z.broadcastAt(i)) * 0.5, 2, 3);
                        })
                        .scale(a -> List.of(Grid.filled(i -> 2, 2, 3))),
                samples((Op<PointwiseArgs.XYZ, Tensor>) Ops.named("merapi::extremum_backward"))
                        .sample(
                                "[2, 3]",
                                m -> new PointwiseArgs.XYZ(
                                        m.distinct(2, 3).detach(),
                                        m.constant(5, 6, 2, 1),
                                        m.uniform(-1, 1, 2, 1),
                                        List.of()))
                        .sample(
                                "extremes that are there",
                                m -> new PointwiseArgs.XYZ(
                                        m.of(new double[] {0.5, 2, -1, 3, 1, -2}, 2, 3)
                                                .detach(),
                                        m.of(new double[] {2, 3}, 2, 1).detach(),
                                        m.uniform(-1, 1, 2, 1),
                                        List.of()))
                        .references(a -> {
                            Grid x = Grid.of(a.x());
                            Grid out = Grid.of(a.y());
                            Grid g = Grid.of(a.z());
                            return Grid.filled(i -> x.at(i) == out.broadcastAt(i) ? g.broadcastAt(i) : 0, 2, 3);
                        }),
                samples((Op<PointwiseArgs.XY, Tensor>) Ops.named("merapi::dropout_backward"))
                        .sample(
                                "[2, 3]",
                                m -> new PointwiseArgs.XY(m.uniform(-1, 1, 2, 3), m.booleans(2, 3), List.of(2.0)))
                        .references(a -> {
                            Grid g = Grid.of(a.x());
                            Grid kept = Grid.of(a.y());
                            return Grid.filled(i -> kept.at(i) * 2 * g.at(i), 2, 3);
                        }),
                samples((Op<PointwiseArgs.X, Tensor>) Ops.named("merapi::sqrt_or_zero"))
                        .sample("[2, 3]", m -> new PointwiseArgs.X(m.uniform(0.2, 4, 2, 3), List.of()))
                        .references(a -> {
                            Grid x = Grid.of(a.x());
                            return Grid.filled(i -> Math.sqrt(x.at(i)), 2, 3);
                        }),
                samples((Op<ReduceArgs.Many, Tensor>) Ops.named("merapi::pick"))
                        .sample(
                                "[2, 3] 1",
                                m -> new ReduceArgs.Many(
                                        List.of(
                                                m.indices(new long[] {0, 1, 2}, 3),
                                                m.indices(new long[] {2, 0}, 2, 1),
                                                m.uniform(-1, 1, 2, 3)),
                                        new int[] {1},
                                        false,
                                        null,
                                        List.of()))
                        .references(a -> {
                            Grid x = Grid.of(a.inputs().get(2));
                            return Grid.of(new double[] {x.at(0, 2), x.at(1, 0)}, 2);
                        })
                        .skip("expanded inputs", "the chosen elements change"));
    }
}
