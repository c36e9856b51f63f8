// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.error.Message;
import dev.merapi.error.OutOfMemoryException;
import dev.merapi.op.Kernel;
import dev.merapi.ops.Attention;
import dev.merapi.ops.Convolution;
import dev.merapi.ops.Factories;
import dev.merapi.ops.Indexing;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Normalization;
import dev.merapi.ops.Optimizers;
import dev.merapi.ops.Ordering;
import dev.merapi.ops.Pooling;
import dev.merapi.ops.RandomOps;
import dev.merapi.ops.Rearranging;
import dev.merapi.ops.Reductions;
import dev.merapi.ops.SelfAttention;
import dev.merapi.ops.Softmax;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** Which native kernel serves which structured op, by name and dtype. Ops that are not here run their reference. */
final class StructuredKernels {
    private record Entry(Predicate<DType> dtypes, Object kernel) {}

    private static final Map<String, Entry> TABLE = new HashMap<>();
    private static final Predicate<DType> FLOATING = DType::isFloating;
    private static final Predicate<DType> ALL = dtype -> true;

    static {
        put("matmul", FLOATING, (LinearAlgebra.Matmul a, Tensor out) -> MatmulKernels.matmul(a, out));
        put("linear", FLOATING, (LinearAlgebra.Linear a, Tensor out) -> MatmulKernels.linear(a, out));

        put("softmax", FLOATING, (Softmax.Along a, Tensor out) -> SoftmaxKernels.softmax(a, out));
        put("log_softmax", FLOATING, (Softmax.Along a, Tensor out) -> SoftmaxKernels.logSoftmax(a, out));
        put(
                "softmax_backward",
                FLOATING,
                (Softmax.BackwardArgs a, Tensor out) -> SoftmaxKernels.softmaxBackward(a, out));
        put(
                "log_softmax_backward",
                FLOATING,
                (Softmax.BackwardArgs a, Tensor out) -> SoftmaxKernels.logSoftmaxBackward(a, out));
        put("logsumexp", FLOATING, (Softmax.Along a, Tensor out) -> SoftmaxKernels.logSumExp(a, out));
        put("cumsum", SoftmaxKernels::scans, (Reductions.CumSum a, Tensor out) -> SoftmaxKernels.cumsum(a, out));

        put("tril", ALL, (Rearranging.Triangle a, Tensor out) -> PositionKernels.triangle(a, out, true));
        put("triu", ALL, (Rearranging.Triangle a, Tensor out) -> PositionKernels.triangle(a, out, false));
        put("flip", ALL, (Rearranging.Flip a, Tensor out) -> PositionKernels.flip(a, out));
        put("arange", ALL, (Factories.Arange a, Tensor out) -> PositionKernels.arange(a, out));
        put("linspace", ALL, (Factories.Linspace a, Tensor out) -> PositionKernels.linspace(a, out));
        put("one_hot", ALL, (Indexing.OneHot a, Tensor out) -> PositionKernels.oneHot(a, out));

        returning("nonzero", (Indexing.NonZero a) -> IndexKernels.nonzero(a));
        put("scatter", ALL, (Indexing.Scatter a, Tensor out) -> IndexKernels.scatter(a, out));
        put("gather", ALL, (Indexing.Gather a, Tensor out) -> IndexKernels.gather(a, out));
        put("topk", ALL, (Ordering.TopK a, Ordering.Ordered out) -> IndexKernels.topk(a, out));
        put("index_select", ALL, (Indexing.IndexSelect a, Tensor out) -> IndexKernels.indexSelect(a, out));
        put(
                "scatter_add_",
                IndexKernels::adds,
                (Indexing.Scatter a, Tensor out) -> IndexKernels.scatterAddInto(a, out));
        put("index_add_", IndexKernels::adds, (Indexing.IndexAdd a, Tensor out) -> IndexKernels.indexAddInto(a, out));
        put("embedding", ALL, (Indexing.Embedding a, Tensor out) -> IndexKernels.embedding(a, out));
        put(
                "embedding_backward",
                FLOATING,
                (Indexing.EmbeddingBackward a, Tensor out) -> IndexKernels.embeddingBackward(a, out));

        put("uniform_", FLOATING, (RandomOps.Uniform a, Tensor out) -> RandomKernels.uniform(a, out));
        put("normal_", FLOATING, (RandomOps.Normal a, Tensor out) -> RandomKernels.normal(a, out));
        put("integers_", ALL, (RandomOps.Integers a, Tensor out) -> RandomKernels.integers(a, out));
        put("bernoulli_", ALL, (RandomOps.Bernoulli a, Tensor out) -> RandomKernels.bernoulli(a, out));
        put("dropout", FLOATING, (RandomOps.Dropout a, RandomOps.Dropped out) -> RandomKernels.dropout(a, out));

        put(
                "layer_norm",
                FLOATING,
                (Normalization.LayerNorm a, Normalization.LayerNormResult out) -> NormKernels.layerNorm(a, out));
        put(
                "layer_norm_backward",
                FLOATING,
                (Normalization.LayerNormBackward a, List<Tensor> out) -> NormKernels.layerNormBackward(a, out));
        put(
                "rms_norm",
                FLOATING,
                (Normalization.RmsNorm a, Normalization.RmsNormResult out) -> NormKernels.rmsNorm(a, out));
        put(
                "rms_norm_backward",
                FLOATING,
                (Normalization.RmsNormBackward a, List<Tensor> out) -> NormKernels.rmsNormBackward(a, out));
        put(
                "cross_entropy",
                FLOATING,
                (Losses.CrossEntropy a, Losses.CrossEntropyResult out) -> NormKernels.crossEntropy(a, out));
        put(
                "cross_entropy_backward",
                FLOATING,
                (Losses.CrossEntropyBackward a, Tensor out) -> NormKernels.crossEntropyBackward(a, out));
        put(
                "cross_entropy_backward_",
                FLOATING,
                (Losses.CrossEntropyBackward a, Tensor out) -> NormKernels.crossEntropyBackward(a, out));

        put("nll_loss", FLOATING, (Losses.Nll a, Tensor out) -> NormKernels.nllLoss(a, out));
        put("nll_loss_backward", FLOATING, (Losses.NllBackward a, Tensor out) -> NormKernels.nllLossBackward(a, out));

        put(
                "attention",
                FLOATING,
                (Attention.Args a, Attention.AttentionResult out) -> AttentionKernels.forward(a, out));
        put(
                "attention_backward",
                FLOATING,
                (Attention.BackwardArgs a, Attention.Gradients out) -> AttentionKernels.backward(a, out));
        put(
                "self_attention",
                FLOATING,
                (SelfAttention.Args a, SelfAttention.Attended out) -> AttentionKernels.packedForward(a, out));
        put(
                "self_attention_backward",
                FLOATING,
                (SelfAttention.BackwardArgs a, Tensor out) -> AttentionKernels.packedBackward(a, out));

        put("conv2d", FLOATING, (Convolution.Conv2d a, Tensor out) -> ConvolutionKernels.forward(a, out));
        put(
                "conv2d_input_gradient",
                FLOATING,
                (Convolution.InputGradient a, Tensor out) -> ConvolutionKernels.inputGradient(a, out));
        put(
                "conv2d_weight_gradient",
                FLOATING,
                (Convolution.WeightGradient a, Tensor out) -> ConvolutionKernels.weightGradient(a, out));
        put(
                "max_pool2d",
                FLOATING,
                (Pooling.MaxPool2d a, Pooling.MaxPoolResult out) -> ConvolutionKernels.maxPool(a, out));
        put(
                "max_pool2d_backward",
                FLOATING,
                (Pooling.MaxPool2dBackward a, Tensor out) -> ConvolutionKernels.maxPoolBackward(a, out));
        put("avg_pool2d", FLOATING, (Pooling.AvgPool2d a, Tensor out) -> ConvolutionKernels.avgPool(a, out));
        put(
                "avg_pool2d_backward",
                FLOATING,
                (Pooling.AvgPool2dBackward a, Tensor out) -> ConvolutionKernels.avgPoolBackward(a, out));

        put("adam_", FLOATING, (Optimizers.Adam a, Object none) -> OptimizerKernels.adam(a));
        put("sgd_", FLOATING, (Optimizers.Sgd a, Object none) -> OptimizerKernels.sgd(a));
        put(
                "grad_norm",
                FLOATING,
                (Optimizers.GradNorm a, Optimizers.NormAndScale out) -> OptimizerKernels.gradNorm(a, out));
        put(
                "non_finite",
                t -> FLOATING.test(t) && t != DType.FLOAT64,
                (Optimizers.NonFinite a, Tensor out) -> OptimizerKernels.nonFinite(a, out));
        put("scale_grads_", FLOATING, (Optimizers.ScaleGrads a, Object none) -> OptimizerKernels.scaleGrads(a));
    }

    private StructuredKernels() {}

    private static <A, R> void put(String op, Predicate<DType> dtypes, Kernel<A, R> kernel) {
        Kernel<A, R> told = (args, out) -> {
            try {
                kernel.run(args, out);
            } catch (RuntimeException e) {
                throw told(op, e);
            }
        };
        TABLE.put("merapi::" + op, new Entry(dtypes, told));
    }

    private static <A, R> void returning(String op, Kernel.Returning<A, R> kernel) {
        Kernel.Returning<A, R> told = args -> {
            try {
                return kernel.run(args);
            } catch (RuntimeException e) {
                throw told(op, e);
            }
        };
        TABLE.put("merapi::" + op, new Entry(ALL, told));
    }

    /** What C++ throws has no class of its own: it is always that there was no working memory. */
    private static RuntimeException told(String op, RuntimeException e) {
        if (e.getClass() != RuntimeException.class) {
            return e;
        }
        return new OutOfMemoryException(
                Message.of("merapi::" + op + ": " + e.getMessage())
                        .fix("close tensors that are no longer needed, or give the process more memory."),
                0,
                Native.memory_limit());
    }

    /** The kernel of an op for a dtype, or null. */
    static @Nullable Object of(String op, @Nullable DType dtype) {
        Entry entry = TABLE.get(op);
        return entry != null && dtype != null && entry.dtypes.test(dtype) ? entry.kernel : null;
    }
}
