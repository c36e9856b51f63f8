// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.backend.Backends;
import dev.merapi.device.Memory;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.CudaGraph;
import dev.merapi.types.Device;
import java.util.function.Supplier;

/**
 * What {@link DeviceReport} asks of a training step: as it is, and captured.
 *
 * <p>How long the device waits for the host needs no profiler: a replay is the same work without the host, so what the step
 * takes longer than its replay is time in which the device had nothing to do. What a replay has of gaps itself is not seen.
 */
final class DeviceSteps {
    private final Device device;
    private final DeviceClock clock;
    private final Supplier<Tensor> step;
    private double eager;
    private double replay;
    private long nodes;

    /** @param step returns something small, which the clock closes */
    DeviceSteps(Device device, DeviceClock clock, Supplier<Tensor> step) {
        this.device = device;
        this.clock = clock;
        this.step = step;
    }

    /** @param count of what a step goes through, and {@code unit} is per second */
    void ask(DeviceReport.Sink sink, String key, String unit, long count) {
        Memory.resetPeak(device);
        sink.ask(key, unit, () -> count / eager());
        sink.ask(key + "_peak", "MiB", () -> {
            eager();
            return Memory.stats(device).peakAllocated() / 1048576.0;
        });
        if (Backends.of(device.type()).graphs() != null) {
            sink.ask(key + "_graph", unit, () -> count / replay());
            sink.ask(key + "_kernels", "kernels", () -> {
                replay();
                return nodes;
            });
            sink.ask(key + "_idle", "%", () -> 100 * (1 - replay() / eager()));
        }
    }

    private double eager() {
        if (eager == 0) {
            eager = clock.seconds(() -> step.get().close());
        }
        return eager;
    }

    private double replay() {
        if (replay == 0) {
            try (CudaGraph<Tensor> graph = CudaGraph.of(device, step)) {
                while (!graph.isCaptured()) {
                    graph.run();
                }
                nodes = graph.nodes();
                replay = clock.seconds(graph::run);
            }
        }
        return replay;
    }
}
