// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.Merapi;
import dev.merapi.cpu.Cpu;
import dev.merapi.train.Checkpoints;
import dev.merapi.train.RunDirectory;
import dev.merapi.types.Device;
import java.io.IOException;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** The options that all examples have: on what they run, how long, and where the run is kept. */
final class CommonOptions {
    @Option(names = "--steps", description = "training steps, with those before --resume")
    @Nullable
    Integer steps;

    @Option(names = "--device", description = "cpu, cuda:0, cuda-sim, …")
    String device = "cpu";

    @Option(names = "--threads", description = "threads of the CPU (default: as many as there are processors)")
    @Nullable
    Integer threads;

    @Option(names = "--seed", description = "of all random numbers")
    long seed = 1;

    @Option(
            names = "--precision",
            description = "f32, mixed with bf16 or f16 for products of matrices, or bf16-params: all in bf16")
    String precision = "f32";

    @Option(names = "--graph", description = "capture the step once and replay it, on devices that can")
    boolean graph;

    @Option(
            names = "--out",
            description =
                    "a new folder for the run's files; a number is added if it is there (default: runs/<example>)")
    @Nullable
    Path out;

    @Option(
            names = "--resume",
            description =
                    "folder of a run that was interrupted: goes on where its last checkpoint is, with its options")
    @Nullable
    Path resume;

    @Option(names = "--checkpoint-every", description = "steps between checkpoints; 0 for those after tests alone")
    int checkpointEvery = 500;

    @Option(names = "--debug", description = "with the stack trace of what goes wrong")
    boolean debug;

    /** The arithmetic that was asked for. */
    Precision arithmetic() {
        return Launch.given("--precision " + precision, () -> Precision.of(precision));
    }

    /** Looks at the options before anything is made, and sets up the process: the device, its threads and the seed. */
    Device prepare() {
        if (threads != null) {
            Launch.atLeast(1, "--threads", threads);
        }
        if (steps != null) {
            Launch.atLeast(1, "--steps", steps);
        }
        Launch.atLeast(0, "--checkpoint-every", checkpointEvery);
        arithmetic();
        if (threads != null) {
            Cpu.setThreads(threads);
        }
        Device on = Launch.device(device);
        Merapi.seed(seed);
        return on;
    }

    /** The folder of a run that goes on, or of a new one. */
    RunDirectory open(String example) {
        Path again = resume;
        if (again != null) {
            return Launch.given("--resume " + again, () -> RunDirectory.open(again));
        }
        Path folder = out == null ? Path.of("runs", example) : out;
        return Launch.given("--out " + folder, () -> {
            Path whole = folder.toAbsolutePath().normalize();
            Path name = whole.getFileName();
            Path root = whole.getParent();
            if (name == null || root == null) {
                throw new IOException("is not the name of a folder");
            }
            Path given = folder.normalize().getParent(); // what is printed is as short as what was given
            return RunDirectory.create(given == null ? Path.of("") : given, name.toString());
        });
    }

    /** The step that a run goes on from, which may not lie behind its end. */
    static long first(Checkpoints checkpoints, long steps) throws IOException {
        long first = checkpoints.latest().map(Checkpoints.Saved::step).orElse(0L);
        if (first > steps) {
            throw new Launch.MistakeException("--steps " + steps, "the run has taken " + first + " steps already");
        }
        return first;
    }
}
