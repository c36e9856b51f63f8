// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.nn;

import dev.merapi.nn.*;
import dev.merapi.ops.Interpolation;
import dev.merapi.ops.Losses.Reduction;
import dev.merapi.ops.PadMode;
import dev.merapi.ops.Recurrent.Cell;
import dev.merapi.ops.Scattering.Reduce;
import dev.merapi.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Supplier;

/** The modules of {@code blocks.py}, by the same names. */
final class BlockTable {
    /** How a block is made, and called with the inputs of the case. */
    record Case(Supplier<Block> make, Call call) {}

    interface Call {
        Tensor of(Block block, List<Tensor> in);
    }

    private final Map<String, Case> all = new LinkedHashMap<>();

    private BlockTable() {}

    static Map<String, Case> all() {
        BlockTable table = new BlockTable();
        table.norms();
        table.convolutions();
        table.pools();
        table.products();
        table.transformers();
        table.shapes();
        table.activations();
        table.losses();
        return table.all;
    }

    private static long[] n(long... numbers) {
        return numbers;
    }

    private void layer(String name, Supplier<Block> make) {
        all.put(name, new Case(make, (b, in) -> ((Layer) b).forward(in.get(0))));
    }

    private void block(String name, Supplier<Block> make, Call call) {
        all.put(name, new Case(make, call));
    }

    private void norms() {
        layer("BatchNorm1d", () -> new BatchNorm1d(3));
        layer(
                "BatchNorm1d lines",
                () -> new BatchNorm1d(2, BatchNorm1d.options().eps(1e-3).momentum(0.3)));
        layer("BatchNorm2d", () -> new BatchNorm2d(2));
        block(
                "BatchNorm2d cumulative",
                () -> new BatchNorm2d(2, BatchNorm2d.options().cumulative()),
                (b, in) -> {
                    Tensor unused = ((Layer) b).forward(in.get(0));
                    return ((Layer) b).forward(in.get(0).mul(2));
                });
        layer("BatchNorm2d bare", () -> new BatchNorm2d(2, BatchNorm2d.options().noAffine()));
        layer(
                "BatchNorm2d untracked",
                () -> new BatchNorm2d(2, BatchNorm2d.options().noRunningStatistics()));
        layer("BatchNorm3d", () -> new BatchNorm3d(2));
        layer("InstanceNorm1d", () -> new InstanceNorm1d(2));
        layer("InstanceNorm2d", () -> new InstanceNorm2d(2, InstanceNorm2d.options()));
        layer(
                "InstanceNorm3d",
                () -> new InstanceNorm3d(2, InstanceNorm3d.options().noRunningStatistics()));
        layer("GroupNorm", () -> new GroupNorm(2, 4));
        layer("GroupNorm bare", () -> new GroupNorm(2, 4, 1e-3, false));
        layer("LayerNorm", () -> new LayerNorm(4));
        layer("LayerNorm two", () -> new LayerNorm(n(2, 3), 1e-3, true, false));
        layer("LayerNorm bare", () -> new LayerNorm(n(4), 1e-5, false, false));
        layer("RMSNorm", () -> new RmsNorm(4));
        layer("RMSNorm eps", () -> new RmsNorm(n(2, 2), 0.1, false));
        layer("LocalResponseNorm", () -> new LocalResponseNorm(3, 0.1, 0.75, 2));
    }

    private void convolutions() {
        ConvNd.Options o = ConvNd.options();
        layer("Conv1d", () -> new Conv1d(2, 3, 3));
        layer(
                "Conv1d all",
                () -> new Conv1d(
                        2, 4, 2, o.stride(2).padding(1).dilation(2).groups(2).noBias()));
        layer("Conv1d same reflect", () -> new Conv1d(2, 2, 4, o.same().padMode(PadMode.REFLECT)));
        layer("Conv2d", () -> new Conv2d(2, 3, 2, 1, 1));
        layer(
                "Conv2d all",
                () -> new Conv2d(
                        2,
                        4,
                        n(1, 3),
                        o.stride(2, 1).padding(0, 2).dilation(1, 2).groups(2).noBias()));
        layer("Conv2d same", () -> new Conv2d(1, 2, n(2, 3), o.same().dilation(1, 2)));
        layer("Conv2d circular", () -> new Conv2d(1, 2, 3, o.padding(1, 2).padMode(PadMode.CIRCULAR)));
        layer(
                "Conv2d replicate",
                () -> new Conv2d(1, 1, 2, o.stride(2).padding(1).padMode(PadMode.REPLICATE)));
        layer("Conv3d", () -> new Conv3d(2, 2, n(2, 1, 2), o.stride(1, 2, 1).padding(1, 0, 0)));
        layer(
                "ConvTranspose1d",
                () -> new ConvTranspose1d(2, 3, 3, o.stride(2).padding(1).outputPadding(1)));
        layer(
                "ConvTranspose2d",
                () -> new ConvTranspose2d(
                        2,
                        4,
                        n(2, 3),
                        o.stride(2, 1).padding(1, 0).groups(2).dilation(1, 2).noBias()));
        layer(
                "ConvTranspose3d",
                () -> new ConvTranspose3d(
                        2, 1, 2, o.stride(1, 2, 1).padding(0, 1, 0).outputPadding(0, 1, 0)));
    }

    private void pools() {
        layer("MaxPool1d", () -> Pool.max(2));
        layer(
                "MaxPool2d",
                () -> Pool.max(Pool.window(2, 3)
                        .stride(2, 1)
                        .padding(1, 0)
                        .dilation(1, 2)
                        .ceilMode()));
        layer("MaxPool3d", () -> Pool.max(Pool.window(2).stride(1)));
        layer(
                "AvgPool1d",
                () -> Pool.avg(Pool.window(3).stride(2).padding(1).ceilMode().excludePadding()));
        layer("AvgPool2d", () -> Pool.avg(2));
        layer("AvgPool3d", () -> Pool.avg(Pool.window(1, 2, 2).stride(1, 1, 2)));
        layer("LPPool1d", () -> Pool.lp(2, Pool.window(2)));
        layer("LPPool2d", () -> Pool.lp(3, Pool.window(1, 2).stride(2, 1)));
        layer("AdaptiveAvgPool1d", () -> Pool.adaptiveAvg(3));
        layer("AdaptiveAvgPool2d", () -> Pool.adaptiveAvg(2, 3));
        layer("AdaptiveAvgPool3d", () -> Pool.adaptiveAvg(1));
        layer("AdaptiveMaxPool1d", () -> Pool.adaptiveMax(2));
        layer("AdaptiveMaxPool2d", () -> Pool.adaptiveMax(2, 3));
        layer("AdaptiveMaxPool3d", () -> Pool.adaptiveMax(1, 2, 2));
    }

    private void products() {
        layer("Linear", () -> new Linear(3, 2));
        layer("Linear without bias", () -> new Linear(3, 2, false));
        block("Bilinear", () -> new Bilinear(2, 3, 2, true), (b, in) -> ((Bilinear) b).forward(in.get(0), in.get(1)));
        layer("Embedding", () -> new Embedding(3, 2));
        layer("Embedding padding", () -> new Embedding(3, 2, 2));
        layer("EmbeddingBag", () -> new EmbeddingBag(3, 2, Reduce.MEAN));
        block(
                "EmbeddingBag sum",
                () -> new EmbeddingBag(3, 2, Reduce.SUM),
                (b, in) -> ((EmbeddingBag) b).forward(in.get(0), in.get(1).toLongArray()));
        layer("EmbeddingBag max", () -> new EmbeddingBag(3, 2, Reduce.AMAX));
        layer("LSTM", () -> new Rnn(Cell.LSTM, 2, 3, Rnn.options().layers(2).bidirectional()));
        layer("GRU", () -> new Rnn(Cell.GRU, 2, 3, Rnn.options().batchIsFirst()));
        layer("RNN", () -> new Rnn(Cell.TANH, 2, 3, Rnn.options().noBias()));
    }

    private void transformers() {
        MultiheadAttention.Options a = MultiheadAttention.options();
        layer("MultiheadAttention", () -> new MultiheadAttention(4, 2, a));
        layer(
                "MultiheadAttention causal",
                () -> new MultiheadAttention(4, 2, a.causal(true).noBias()));
        block(
                "MultiheadAttention cross",
                () -> new MultiheadAttention(4, 2, a),
                (b, in) -> ((MultiheadAttention) b).forward(in.get(0), in.get(1), null));
        block(
                "MultiheadAttention keys",
                () -> new MultiheadAttention(4, 2, a),
                (b, in) -> ((MultiheadAttention) b)
                        .forward(in.get(0), in.get(1).view(in.get(1).size(0), 1, 1, 3)));
        block(
                "MultiheadAttention added",
                () -> new MultiheadAttention(4, 2, a),
                (b, in) -> ((MultiheadAttention) b).forward(in.get(0), in.get(1)));
        TransformerOptions o = TransformerOptions.options().hidden(5).dropout(0);
        layer("TransformerEncoderLayer", () -> new TransformerEncoderLayer(4, 2, o));
        layer(
                "TransformerEncoderLayer first",
                () -> new TransformerEncoderLayer(
                        4, 2, o.normIsFirst().activation(Tensor::gelu).eps(1e-3)));
        layer(
                "TransformerEncoderLayer causal",
                () -> new TransformerEncoderLayer(4, 2, o.isCausal().noBias()));
        Call decoder = (b, in) -> ((TransformerDecoderLayer) b).forward(in.get(0), in.get(1));
        block("TransformerDecoderLayer", () -> new TransformerDecoderLayer(4, 2, o), decoder);
        block(
                "TransformerDecoderLayer first",
                () -> new TransformerDecoderLayer(4, 2, o.normIsFirst().isCausal()),
                decoder);
        layer("TransformerEncoder", () -> new TransformerEncoder(2, 4, 2, o, true));
        block(
                "TransformerDecoder",
                () -> new TransformerDecoder(2, 4, 2, o, false),
                (b, in) -> ((TransformerDecoder) b).forward(in.get(0), in.get(1)));
    }

    private void shapes() {
        layer("Identity", Rearrange::identity);
        layer("Flatten", Rearrange::flatten);
        layer("Unflatten", () -> Rearrange.unflatten(1, 2, 2));
        layer("PixelShuffle", () -> Rearrange.pixelShuffle(2));
        layer("PixelUnshuffle", () -> Rearrange.pixelUnshuffle(2));
        layer("ChannelShuffle", () -> Rearrange.channelShuffle(2));
        layer("Upsample", () -> Rearrange.upsample(2, Interpolation.LINEAR, true));
        layer("Upsample size", () -> Rearrange.resize(n(3, 4), Interpolation.NEAREST, false));
        layer("ReflectionPad1d", () -> Rearrange.pad(PadMode.REFLECT, 2, 1));
        layer("ZeroPad2d", () -> Rearrange.pad(null, 1, 0, 2, 1));
        layer(
                "Sequential",
                () -> new Sequential()
                        .then(new Conv2d(1, 2, 2))
                        .then(new BatchNorm2d(2))
                        .then(Activation.relu())
                        .then(Rearrange.flatten())
                        .then(new Linear(8, 2)));
    }

    private void activations() {
        layer("ReLU", Activation::relu);
        layer("ReLU6", Activation::relu6);
        layer("LeakyReLU", () -> Activation.leakyRelu(0.1));
        layer("ELU", () -> Activation.elu(0.7));
        layer("SELU", Activation::selu);
        layer("CELU", () -> Activation.celu(0.5));
        layer("GELU", Activation::gelu);
        layer("GELU tanh", Activation::geluTanh);
        layer("SiLU", Activation::silu);
        layer("Mish", Activation::mish);
        layer("Sigmoid", Activation::sigmoid);
        layer("LogSigmoid", Activation::logSigmoid);
        layer("Tanh", Activation::tanh);
        layer("Hardtanh", () -> Activation.hardtanh(-0.5, 0.7));
        layer("Hardsigmoid", Activation::hardSigmoid);
        layer("Hardswish", Activation::hardSwish);
        layer("Softplus", () -> Activation.softplus(2, 1.5));
        layer("Softsign", Activation::softsign);
        layer("Threshold", () -> Activation.threshold(0.3, -1));
        layer("Hardshrink", () -> Activation.hardshrink(0.6));
        layer("Softshrink", () -> Activation.softshrink(0.6));
        layer("Tanhshrink", Activation::tanhshrink);
        layer("GLU", () -> Activation.glu(1));
        layer("Softmax", () -> Activation.softmax(1));
        layer("Softmin", () -> Activation.softmin(1));
        layer("LogSoftmax", () -> Activation.logSoftmax(0));
        layer("PReLU", PRelu::new);
        layer("PReLU channels", () -> new PRelu(4, 0.25));
    }

    private void loss(String name, Supplier<Loss> make) {
        Function<List<Tensor>, Tensor[]> array = in -> in.toArray(new Tensor[0]);
        block(name, make::get, (b, in) -> ((Loss) b).forward(array.apply(in)));
    }

    private void losses() {
        Supplier<Tensor> w = () -> Tensor.ones(4);
        loss("CrossEntropyLoss", Loss::crossEntropy);
        loss("CrossEntropyLoss all", () -> Loss.crossEntropy(w.get(), 3, 0.1, Reduction.SUM));
        loss("CrossEntropyLoss probabilities", () -> Loss.crossEntropy(w.get(), -100, 0, Reduction.MEAN));
        loss("NLLLoss", () -> Loss.nll(w.get(), -100, Reduction.NONE));
        loss("MSELoss", Loss::mse);
        loss("L1Loss", () -> Loss.l1(Reduction.SUM));
        loss("SmoothL1Loss", () -> Loss.smoothL1(0.7, Reduction.MEAN));
        loss("HuberLoss", () -> Loss.huber(0.7, Reduction.MEAN));
        loss("BCELoss", () -> Loss.bce(w.get(), Reduction.MEAN));
        loss("BCEWithLogitsLoss", () -> Loss.bceWithLogits(null, w.get(), Reduction.MEAN));
        loss("KLDivLoss", () -> Loss.klDiv(false));
        loss("PoissonNLLLoss", () -> Loss.poissonNll(true, true, 1e-8, Reduction.MEAN));
        loss("GaussianNLLLoss", () -> Loss.gaussianNll(true, 1e-6, Reduction.NONE));
        loss("CosineEmbeddingLoss", () -> Loss.cosineEmbedding(0.1, Reduction.MEAN));
        loss("TripletMarginLoss", () -> Loss.tripletMargin(0.8, 2, true, Reduction.MEAN));
        loss("HingeEmbeddingLoss", () -> Loss.hingeEmbedding(1.5, Reduction.MEAN));
        loss("MarginRankingLoss", () -> Loss.marginRanking(0.2, Reduction.NONE));
        loss("SoftMarginLoss", Loss::softMargin);
        loss("MultiMarginLoss", () -> Loss.multiMargin(2, 0.8, w.get(), Reduction.MEAN));
        loss("MultiLabelMarginLoss", Loss::multilabelMargin);
        loss("MultiLabelSoftMarginLoss", () -> Loss.multilabelSoftMargin(w.get(), Reduction.MEAN));
        block(
                "CTCLoss",
                Loss::ctc,
                (b, in) -> ((Loss) b).forward(in.get(0).logSoftmax(2), in.get(1), in.get(2), in.get(3)));
    }
}
