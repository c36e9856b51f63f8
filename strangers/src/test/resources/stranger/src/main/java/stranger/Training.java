package stranger;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autograd;
import dev.merapi.data.DataLoader;
import dev.merapi.data.Labelled;
import dev.merapi.data.TensorDataset;
import dev.merapi.io.Safetensors;
import dev.merapi.nn.Linear;
import dev.merapi.nn.Sequential;
import dev.merapi.ops.Losses;
import dev.merapi.optim.AdamW;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.Checkpoints;
import dev.merapi.train.Metrics;
import dev.merapi.train.RunDirectory;
import dev.merapi.train.StopSignal;
import dev.merapi.train.Trainer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/** Trains in a folder, from its last checkpoint on, and then predicts by the weights that it saved. */
public final class Training {
    private static Sequential model() {
        return new Sequential().then(new Linear(1, 16)).then(Tensor::tanh).then(new Linear(16, 1));
    }

    public static void main(String[] args) throws Exception {
        Path folder = Files.createDirectories(Path.of(args[0]));
        int pause = Integer.parseInt(args[1]);
        Merapi.seed(1);
        Tensor x = Tensor.linspace(-1, 1, 64).reshape(64, 1);
        Sequential model = model();
        try (RunDirectory run = RunDirectory.open(folder);
                StopSignal stop = StopSignal.listen();
                AdamW optimizer = new AdamW(model.parameters(), 1e-2, 0.01);
                DataLoader<Labelled> loader = DataLoader.of(new TensorDataset(x, x.mul(4).sin()), 16).shuffle(1)) {
            Checkpoints checkpoints = Checkpoints.in(run.file("checkpoints"));
            long first = checkpoints.latest().map(Checkpoints.Saved::step).orElse(0L);
            Path csv = run.file("metrics.csv");
            String[] columns = {"loss", "learning_rate", "gradient_norm"};
            try (Metrics metrics = first == 0 ? Metrics.create(csv, columns) : Metrics.resume(csv, first, columns)) {
                Trainer.of(optimizer, (Labelled b) -> Losses.mseLoss(model.forward(b.inputs()), b.targets()))
                        .part("model", model)
                        .steps(60)
                        .clipNorm(model.parameters(), 1)
                        .checkpoints(checkpoints, 1)
                        .metrics(metrics)
                        .stop(stop)
                        .onStep((step, values) -> {
                            try {
                                Thread.sleep(pause);
                            } catch (InterruptedException e) {
                                Thread.currentThread().interrupt();
                            }
                        })
                        .run(loader);
            }
            System.out.println("from " + first);
            Safetensors.save(run.file("weights.safetensors"), model.stateDict());
            Sequential loaded = model();
            loaded.loadStateDict(Safetensors.loadState(run.file("weights.safetensors")));
            Tensor points = Tensor.of(new float[][] {{-0.5f}, {0}, {0.5f}});
            System.out.println("predicts "
                    + Arrays.toString(Autograd.noGrad(() -> loaded.forward(points)).toFloatArray()));
        }
    }
}
