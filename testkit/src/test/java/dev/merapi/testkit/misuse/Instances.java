// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.misuse;

import dev.merapi.autograd.SavedTensorHooks;
import dev.merapi.check.GradCheck;
import dev.merapi.check.OpCheck;
import dev.merapi.data.DataLoader;
import dev.merapi.data.Labelled;
import dev.merapi.data.TensorDataset;
import dev.merapi.data.TextCorpus;
import dev.merapi.data.Transform;
import dev.merapi.data.Vocabulary;
import dev.merapi.io.Csv;
import dev.merapi.nn.*;
import dev.merapi.nn.Rnn;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.op.Tangents;
import dev.merapi.ops.*;
import dev.merapi.ops.Attention;
import dev.merapi.ops.Recurrent;
import dev.merapi.ops.StepOp;
import dev.merapi.optim.*;
import dev.merapi.random.Generator;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.*;
import dev.merapi.tensor.StateReader;
import dev.merapi.train.Accuracy;
import dev.merapi.train.Checkpoints;
import dev.merapi.train.ConfusionMatrix;
import dev.merapi.train.CudaGraph;
import dev.merapi.train.RunningMean;
import dev.merapi.train.Trainer;
import dev.merapi.types.*;
import java.io.IOException;
import java.io.StringReader;
import java.io.UncheckedIOException;
import java.lang.invoke.MethodHandles;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** An object of each class, to call its methods on. */
final class Instances {
    private Instances() {}

    record X(Tensor x) {}

    /** Nobody else's: what is registered for it changes no other test. */
    private static Op<X, Tensor> own() {
        return Op.define(MethodHandles.lookup(), "misuse::op", X.class, Tensor.class);
    }

    static Tensor matrix() {
        return Tensor.of(new float[] {1, 2, 3, 4, 5, 6}).view(2, 3);
    }

    static Tensor closed() {
        Tensor t = matrix();
        t.close();
        return t;
    }

    private static final StepOp.Operands OPERANDS = operands();
    private static final Map<String, String> TEXTS = Map.of("a.txt", "some text of a few words", "b.txt", "and more");

    static @Nullable Object of(Class<?> c) {
        Tensor x = matrix();
        return switch (c.getSimpleName()) {
            case "Tensor" -> x;
            case "Elements" -> Elements.of(x);
            case "CudaGraph" -> CudaGraph.of(Device.CPU, () -> x.mul(2));
            case "CudaKernel" -> CudaKernel.body("out[i] = x[i];");
            case "DataLoader" -> DataLoader.of(new TensorDataset(x, Tensor.zeros(2)), 1);
            case "Dataset" -> new TensorDataset(x, Tensor.zeros(2));
            case "GradCheck" ->
                GradCheck.of(t -> t.get(0).mul(2), List.of(x.to(DType.FLOAT64).requiresGrad(true)));
            case "Override" -> own().override();
            case "TextCorpus" -> TextCorpus.of(new TreeMap<>(TEXTS));
            case "Windows" -> TextCorpus.of(new TreeMap<>(TEXTS)).training(2);
            case "Checkpoints" -> Checkpoints.in(Path.of("target/misuse-checkpoints"));
            case "Saved" -> saved();
            case "RunningMean" -> new RunningMean();
            case "Accuracy" -> new Accuracy();
            case "ConfusionMatrix" -> new ConfusionMatrix(3);
            case "Ema" -> new Ema(new Linear(3, 2), 0.9);
            case "Applied" -> new Ema(new Linear(3, 2), 0.9).apply();
            case "Vocabulary" -> Vocabulary.of("some text");
            case "Trainer" ->
                Trainer.of(
                        new AdamW(List.of(x.copy().requiresGrad(true)), 0.1, 0),
                        (Labelled b) -> b.inputs().sum());
            case "Options" -> options(c);
            case "TransformerOptions" -> TransformerOptions.options().hidden(4);
            case "Window" -> Pool.window(2);
            case "Conv1d" -> new Conv1d(1, 2, 3);
            case "Conv3d" -> new Conv3d(1, 2, 3);
            case "ConvTranspose1d" -> new ConvTranspose1d(1, 2, 3);
            case "ConvTranspose2d" -> new ConvTranspose2d(1, 2, 3);
            case "ConvTranspose3d" -> new ConvTranspose3d(1, 2, 3);
            case "BatchNorm1d", "RunningNorm" -> new BatchNorm1d(3);
            case "BatchNorm2d" -> new BatchNorm2d(3);
            case "BatchNorm3d" -> new BatchNorm3d(3);
            case "InstanceNorm1d" -> new InstanceNorm1d(3);
            case "InstanceNorm2d" -> new InstanceNorm2d(3);
            case "InstanceNorm3d" -> new InstanceNorm3d(3);
            case "GroupNorm" -> new GroupNorm(1, 3);
            case "RmsNorm" -> c == RmsNorm.class ? new RmsNorm(3) : null;
            case "LocalResponseNorm" -> new LocalResponseNorm(3);
            case "Bilinear" -> new Bilinear(3, 3, 2, true);
            case "EmbeddingBag" -> new EmbeddingBag(5, 2, Scattering.Reduce.SUM);
            case "PRelu" -> new PRelu();
            case "Loss" -> Loss.mse();
            case "BlockList" -> new BlockList<Linear>().add(new Linear(3, 2));
            case "BlockMap" -> new BlockMap<Linear>().put("misuse", new Linear(3, 2));
            case "TransformerEncoderLayer" -> new TransformerEncoderLayer(4, 2, TransformerOptions.options());
            case "TransformerDecoderLayer" -> new TransformerDecoderLayer(4, 2, TransformerOptions.options());
            case "TransformerEncoder" -> new TransformerEncoder(1, 4, 2, TransformerOptions.options(), true);
            case "TransformerDecoder" -> new TransformerDecoder(1, 4, 2, TransformerOptions.options(), true);
            case "Weights" ->
                new Recurrent.Weights(Tensor.zeros(4, 3), Tensor.zeros(4, 1), Tensor.zeros(4), Tensor.zeros(4));
            case "State" -> new Rnn.State(Tensor.zeros(1, 1, 2), null);
            case "Stateful" -> new Linear(3, 2);
            case "Rnn" -> new Rnn(Recurrent.Cell.GRU, 3, 2);
            case "Conv2d", "ConvNd" -> new Conv2d(1, 2, 3, 1, 1);
            case "Dropout" -> new Dropout(0.5);
            case "Embedding" -> new Embedding(5, 2);
            case "FeedForward" -> c == dev.merapi.nn.FeedForward.class ? new dev.merapi.nn.FeedForward(3, 4) : null;
            case "LayerNorm" -> new LayerNorm(3);
            case "Linear" -> new Linear(3, 2);
            case "Block", "Layer", "Sequential" -> new Sequential().then(new Linear(3, 2));
            case "KeyValueCache" -> new KeyValueCache(1, 1, 4, 3);
            case "MultiheadAttention" -> new MultiheadAttention(4, 2, false);
            case "Parameter" -> new Linear(3, 2).parameters().get(0);
            case "AdamW", "Optimizer" -> new AdamW(List.of(x.copy().requiresGrad(true)), 0.1, 0);
            case "Sgd" -> new Sgd(List.of(x.copy().requiresGrad(true)), 0.1);
            case "RmsProp" -> new RmsProp(List.of(x.copy().requiresGrad(true)), 0.1);
            case "FormulaOptimizer", "Lion" -> new Lion(List.of(x.copy().requiresGrad(true)), 0.1, 0);
            case "Adagrad" -> new Adagrad(List.of(x.copy().requiresGrad(true)), 0.1);
            case "StepOp" -> Steps.LION;
            case "Operands" -> OPERANDS;
            case "Csv" -> csv();
            case "Muon" -> new Muon(List.of(x.copy().requiresGrad(true)), 0.1);
            case "Lbfgs" -> new Lbfgs(List.of(x.copy().requiresGrad(true)), 0.1);
            case "Plateau" -> new Plateau(new Sgd(List.of(x.copy().requiresGrad(true)), 0.1));
            case "Schedule" -> Schedule.constant(1);
            case "Transform" -> Transform.toFloat();
            case "GradScaler" -> new GradScaler();
            case "TensorDataset" -> new TensorDataset(x, Tensor.zeros(2));
            case "OpCheck" -> OpCheck.of(Softmax.SOFTMAX);
            case "Op" -> own();
            case "Definition" -> Softmax.SOFTMAX.definition();
            case "Schema" -> Softmax.SOFTMAX.schema();
            case "Pair" ->
                new SavedTensorHooks.Pair() {
                    @Override
                    public Object pack(Tensor tensor) {
                        return tensor;
                    }

                    @Override
                    public Tensor unpack(Object packed) {
                        return (Tensor) packed;
                    }
                };
            case "Scope" -> Scope.open();
            case "Tangents" ->
                new Tangents<>(own().shape(X::x).definition(), new X(x), new Tensor[] {x}, new Tensor[] {x});
            case "Grads" -> Grads.of("x", x);
            case "Result" -> Result.tensor();
            case "PointwiseOp" -> Arithmetic.ADD;
            case "ReductionOp" -> Reductions.SUM;
            case "PairLoss" -> Losses.MSE;
            case "Generator" -> new Generator(1);
            case "DType" -> DType.FLOAT32;
            case "Device" -> Device.CPU;
            case "DeviceType" -> DeviceType.CPU;
            case "Layout" -> x.layout();
            case "Shape" -> x.shape();
            case "StateDict" -> new StateDict().with("misuse", x);
            case "StateReader" -> new StateReader("misuse", new StateDict().with("misuse", x));
            default -> null;
        };
    }

    private static Csv csv() {
        try {
            return Csv.read(new StringReader("a,b\n1,2\n"), ',', "misuse");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** What the formula of a step is given. */
    private static StepOp.Operands operands() {
        StepOp.Operands[] given = new StepOp.Operands[1];
        StepOp.define("misuse::step_", List.of("state"), List.of("setting"), o -> {
            given[0] = o;
            return List.of(o.parameter(), o.state("state"));
        });
        return given[0];
    }

    private static Object options(Class<?> c) {
        if (c == Rnn.Options.class) {
            return Rnn.options();
        }
        if (c == ConvNd.Options.class) {
            return ConvNd.options();
        }
        if (c == RunningNorm.Options.class) {
            return RunningNorm.options();
        }
        return c == MultiheadAttention.Options.class ? MultiheadAttention.options() : Attention.options();
    }

    private static Checkpoints.Saved saved() {
        try {
            Path folder = Files.createTempDirectory("misuse");
            folder.toFile().deleteOnExit();
            Checkpoints.Saved saved = Checkpoints.in(folder).save(1, Map.of("model", new Linear(3, 2)), Map.of());
            saved.file().toFile().deleteOnExit();
            return saved;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
