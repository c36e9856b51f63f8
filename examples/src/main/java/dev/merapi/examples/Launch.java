// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.Merapi;
import dev.merapi.device.Memory;
import dev.merapi.error.DeviceException;
import dev.merapi.train.RunDirectory;
import dev.merapi.train.Trainer;
import dev.merapi.types.Device;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.util.Arrays;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.ExitCode;

/** Runs an example. What whoever started it can put right is said in one line, without a stack trace. */
final class Launch {
    private Launch() {}

    /** An option that does not fit. */
    static final class MistakeException extends RuntimeException {
        private static final long serialVersionUID = 1L;

        MistakeException(String option, String what) {
            super(option + ": " + oneLine(what));
        }
    }

    /** The exit code: 0, 2 for options that do not fit, alone or on this machine, 1 for everything else. */
    static int run(Callable<Integer> example, String... args) {
        CommandLine line = new CommandLine(example);
        line.getCommandSpec().version("Merapi " + Merapi.version());
        try {
            line.setDefaultValueProvider(RunOptions.ofResumed(args));
        } catch (MistakeException e) {
            return failed(line, e, ExitCode.USAGE, args);
        }
        return line.setParameterExceptionHandler((e, all) -> failed(e.getCommandLine(), e, ExitCode.USAGE, args))
                .setExecutionExceptionHandler((e, command, parsed) -> failed(
                        command,
                        e,
                        e instanceof DeviceException || e instanceof MistakeException
                                ? ExitCode.USAGE
                                : ExitCode.SOFTWARE,
                        args))
                .execute(args);
    }

    private static int failed(CommandLine line, Exception e, int code, String... args) {
        boolean debug = Arrays.asList(args).contains("--debug");
        String what = e instanceof RuntimeException && e.getMessage() != null && !(e instanceof UncheckedIOException)
                ? e.getMessage()
                : e.toString(); // an IOException may have no more than the name of a file
        if (e instanceof CommandLine.UnmatchedArgumentException unknown
                && !unknown.getSuggestions().isEmpty()) {
            what += "; did you mean " + String.join(" or ", unknown.getSuggestions()) + "?";
        }
        String hint = code == ExitCode.USAGE || debug ? "" : "  (--debug shows where)";
        line.getErr().println(line.getCommandName() + ": " + oneLine(what) + hint);
        if (debug) {
            e.printStackTrace(line.getErr());
        }
        return code;
    }

    private static String oneLine(String text) {
        return text.strip().replaceAll("\\s*\\R\\s*", "; ");
    }

    /**
     * What {@code use} makes of an option.
     *
     * @param option with its value, as it was given
     * @throws MistakeException if it refuses it
     */
    static <T> T given(String option, Callable<T> use) {
        try {
            return use.call();
        } catch (NoSuchFileException e) {
            throw new MistakeException(option, "there is no such file or folder");
        } catch (NotDirectoryException | FileAlreadyExistsException e) {
            throw new MistakeException(option, e.getFile() + " is a file, where a folder is needed");
        } catch (AccessDeniedException e) {
            throw new MistakeException(option, "may not be read or written: " + e.getFile());
        } catch (IOException | IllegalArgumentException e) {
            throw new MistakeException(option, String.valueOf(e.getMessage()));
        } catch (RuntimeException e) {
            throw e;
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    /** Says how a run that was stopped goes on; returns the exit code, which is that of shells for Ctrl-C. */
    static int stopped(String example, Trainer.Report report, RunDirectory run) {
        System.out.printf(
                "%nstopped after step %d; go on with: scripts/train %s --resume %s%n", report.steps(), example, run);
        return 130;
    }

    /** @throws MistakeException if a number is smaller than it can be */
    static void atLeast(int least, String option, int value) {
        if (value < least) {
            throw new MistakeException(option + " " + value, "must be at least " + least);
        }
    }

    /** @throws MistakeException if it is no number greater than 0 */
    static void positive(String option, double value) {
        if (!(value > 0) || Double.isInfinite(value)) {
            throw new MistakeException(option + " " + value, "must be greater than 0, and finite");
        }
    }

    /**
     * The device of that name.
     *
     * @throws DeviceException in one line, if nothing can run on it here
     */
    static Device device(String name) {
        try {
            Device device = Device.of(name);
            Memory.stats(device);
            return device;
        } catch (DeviceException e) {
            Throwable why = e.getCause() == null || e.getCause().getMessage() == null ? e : e.getCause();
            throw new DeviceException("--device " + name + " cannot be used: "
                    + String.valueOf(why.getMessage()).lines().findFirst().orElse("")
                    + "; use --device cpu, or cuda-sim, which runs CUDA's kernels on the CPU, slowly;"
                    + " docs/gpu.md says what a GPU needs");
        }
    }
}
