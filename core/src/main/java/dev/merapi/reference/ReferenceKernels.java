// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import static dev.merapi.backend.KernelTable.ALL;

import dev.merapi.backend.KernelTable;
import dev.merapi.op.Kernel;
import dev.merapi.ops.Attention;
import dev.merapi.ops.Convolution;
import dev.merapi.ops.Factories;
import dev.merapi.ops.Indexing;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.ops.LinearCrossEntropy;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Normalization;
import dev.merapi.ops.Optimizers;
import dev.merapi.ops.Ordering;
import dev.merapi.ops.Pooling;
import dev.merapi.ops.RandomOps;
import dev.merapi.ops.Rearranging;
import dev.merapi.ops.Reductions;
import dev.merapi.ops.Scans;
import dev.merapi.ops.Scattering;
import dev.merapi.ops.Searching;
import dev.merapi.ops.Softmax;
import dev.merapi.tensor.Tensor;

/**
 * The plain-Java kernels of the built-in ops that are neither pointwise nor reductions, of every dtype that the op itself
 * takes. Ops that put other ops to work on views, the same on every device, have that as their own reference.
 */
final class ReferenceKernels {
    static final KernelTable TABLE = new KernelTable();

    static {
        products();
        rows();
        losses();
        positions();
        indexing();
        random();
        images();
        optimizers();
    }

    private ReferenceKernels() {}

    private static <A extends Record> void put(String op, Class<A> arguments, Kernel<A, Tensor> kernel) {
        TABLE.put(op, arguments, ALL, kernel);
    }

    private static <A extends Record, R> void put(String op, Class<A> arguments, Class<R> result, Kernel<A, R> kernel) {
        TABLE.put(op, arguments, result, ALL, kernel);
    }

    private static void products() {
        put("matmul", LinearAlgebra.Matmul.class, MatmulReference::matmul);
        put("linear", LinearAlgebra.Linear.class, MatmulReference::linear);
        put("attention", Attention.Args.class, Attention.AttentionResult.class, AttentionReference::forward);
        put(
                "attention_backward",
                Attention.BackwardArgs.class,
                Attention.Gradients.class,
                AttentionReference::backward);
    }

    private static void rows() {
        put("softmax", Softmax.Along.class, SoftmaxReference::softmax);
        put("softmax_backward", Softmax.BackwardArgs.class, SoftmaxReference::softmaxBackward);
        put("log_softmax", Softmax.Along.class, SoftmaxReference::logSoftmax);
        put("log_softmax_backward", Softmax.BackwardArgs.class, SoftmaxReference::logSoftmaxBackward);
        put("logsumexp", Softmax.Along.class, SoftmaxReference::logSumExp);
        put("cumsum", Reductions.CumSum.class, ScanReference::cumsum);
        put("cumprod", Scans.Along.class, ScanReference::cumprod);
        put("cummax", Scans.Along.class, Scans.Extremes.class, ScanReference::cummax);
        put("cummin", Scans.Along.class, Scans.Extremes.class, ScanReference::cummin);
        put("logcumsumexp", Scans.Along.class, ScanReference::logCumSumExp);
        put(
                "layer_norm",
                Normalization.LayerNorm.class,
                Normalization.LayerNormResult.class,
                NormalizationReference::layerNorm);
        put(
                "layer_norm_backward",
                Normalization.LayerNormBackward.class,
                KernelTable.TENSORS,
                NormalizationReference::layerNormBackward);
        put(
                "rms_norm",
                Normalization.RmsNorm.class,
                Normalization.RmsNormResult.class,
                NormalizationReference::rmsNorm);
        put(
                "rms_norm_backward",
                Normalization.RmsNormBackward.class,
                KernelTable.TENSORS,
                NormalizationReference::rmsNormBackward);
        put("topk", Ordering.TopK.class, Ordering.Ordered.class, OrderingReference::topk);
    }

    private static void losses() {
        put("cross_entropy", Losses.CrossEntropy.class, Losses.CrossEntropyResult.class, LossReference::crossEntropy);
        put("cross_entropy_backward", Losses.CrossEntropyBackward.class, LossReference::crossEntropyBackward);
        put("cross_entropy_backward_", Losses.CrossEntropyBackward.class, LossReference::crossEntropyBackward);
        put(
                "linear_cross_entropy",
                LinearCrossEntropy.Args.class,
                LinearCrossEntropy.Result.class,
                LossReference::linearCrossEntropy);
        put("nll_loss", Losses.Nll.class, LossReference::nll);
        put("nll_loss_backward", Losses.NllBackward.class, LossReference::nllBackward);
    }

    private static void positions() {
        put("tril", Rearranging.Triangle.class, PositionReference::lower);
        put("triu", Rearranging.Triangle.class, PositionReference::upper);
        put("flip", Rearranging.Flip.class, PositionReference::flip);
        put("arange", Factories.Arange.class, PositionReference::arange);
        put("linspace", Factories.Linspace.class, PositionReference::linspace);
    }

    private static void indexing() {
        put("gather", Indexing.Gather.class, IndexingReference::gather);
        put("scatter", Indexing.Scatter.class, IndexingReference::scatter);
        put("scatter_add_", Indexing.Scatter.class, IndexingReference::scatterAddInto);
        put("index_select", Indexing.IndexSelect.class, IndexingReference::indexSelect);
        put("index_add_", Indexing.IndexAdd.class, IndexingReference::indexAdd);
        put("index_copy_", Indexing.IndexAdd.class, IndexingReference::indexCopy);
        put("scatter_reduce", Scattering.ScatterReduce.class, ScatterReference::scatterReduce);
        put("search_sorted", Searching.SearchSorted.class, OrderingReference::searchSorted);
        put("embedding", Indexing.Embedding.class, IndexingReference::embedding);
        put("embedding_backward", Indexing.EmbeddingBackward.class, IndexingReference::embeddingBackward);
        put("one_hot", Indexing.OneHot.class, IndexingReference::oneHot);
        TABLE.putReturning("nonzero", Indexing.NonZero.class, Tensor.class, ALL, IndexingReference::nonzero);
    }

    private static void random() {
        put("uniform_", RandomOps.Uniform.class, RandomReference::uniform);
        put("normal_", RandomOps.Normal.class, RandomReference::normal);
        put("integers_", RandomOps.Integers.class, RandomReference::integers);
        put("bernoulli_", RandomOps.Bernoulli.class, RandomReference::bernoulli);
        put("randperm", RandomOps.Randperm.class, RandomReference::permutation);
        put("dropout", RandomOps.Dropout.class, RandomOps.Dropped.class, RandomReference::dropout);
    }

    private static void images() {
        put("conv2d", Convolution.Conv2d.class, ConvolutionReference::forward);
        put("conv2d_input_gradient", Convolution.InputGradient.class, ConvolutionReference::inputGradient);
        put("conv2d_weight_gradient", Convolution.WeightGradient.class, ConvolutionReference::weightGradient);
        put("max_pool2d", Pooling.MaxPool2d.class, Pooling.MaxPoolResult.class, PoolingReference::max);
        put("max_pool2d_backward", Pooling.MaxPool2dBackward.class, PoolingReference::maxBackward);
        put("avg_pool2d", Pooling.AvgPool2d.class, PoolingReference::average);
        put("avg_pool2d_backward", Pooling.AvgPool2dBackward.class, PoolingReference::averageBackward);
    }

    private static void optimizers() {
        put("adam_", Optimizers.Adam.class, Void.class, (Optimizers.Adam a, Void none) -> OptimizerReference.adam(a));
        put("sgd_", Optimizers.Sgd.class, Void.class, (Optimizers.Sgd a, Void none) -> OptimizerReference.sgd(a));
        put("grad_norm", Optimizers.GradNorm.class, Optimizers.NormAndScale.class, OptimizerReference::gradNorm);
        put("non_finite", Optimizers.NonFinite.class, OptimizerReference::nonFinite);
        put(
                "scale_grads_",
                Optimizers.ScaleGrads.class,
                Void.class,
                (Optimizers.ScaleGrads a, Void none) -> OptimizerReference.scale(a));
        put(
                "update_scale_",
                Optimizers.UpdateScale.class,
                Void.class,
                (Optimizers.UpdateScale a, Void none) -> OptimizerReference.updateScale(a));
    }
}
