// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.dispatch.Backends;
import dev.merapi.error.DeviceException;
import dev.merapi.types.Device;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.ExitCode;

/** Runs an example. What whoever started it can put right is said in one line, without a stack trace. */
final class Launch {
    private Launch() {}

    /** The exit code: 0, 2 for options that do not fit this machine, 1 for everything else. */
    static int run(Callable<Integer> example, String... args) {
        return new CommandLine(example)
                .setExecutionExceptionHandler((exception, command, parsed) -> {
                    if (exception instanceof DeviceException) {
                        command.getErr().println(command.getCommandName() + ": " + exception.getMessage());
                        return ExitCode.USAGE;
                    }
                    throw exception;
                })
                .execute(args);
    }

    /**
     * The device of that name.
     *
     * @throws DeviceException in one line, if nothing can run on it here
     */
    static Device device(String name) {
        try {
            Device device = Device.of(name);
            Backends.allocator(device);
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
