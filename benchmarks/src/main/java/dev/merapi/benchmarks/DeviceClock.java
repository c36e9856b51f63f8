// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.backend.Backends;
import dev.merapi.tensor.Scope;
import dev.merapi.types.Device;
import java.util.Arrays;
import java.util.function.IntToDoubleFunction;

/**
 * Times what a device does. A call may return before its work is done, so the clock waits for the device at both ends, and
 * each round lasts long enough that the waiting does not count. The median of the rounds is the answer.
 */
final class DeviceClock {
    private static final double WARM_UP_SECONDS = 0.3;
    /** Short steps of training run in the interpreter for hundreds of times; long ones hide the host's time anyway. */
    private static final int WARM_UP_CALLS = 300;

    private static final double LONGEST_WARM_UP_SECONDS = 2;
    private static final double ROUND_SECONDS = 0.1;
    private static final int MOST_CALLS = 10_000;

    private final Device device;
    private final int rounds;
    private final boolean once;

    /** @param once one call to warm up and one that counts, for sizes at which time says nothing */
    DeviceClock(Device device, int rounds, boolean once) {
        this.device = device;
        this.rounds = once ? 1 : rounds;
        this.once = once;
    }

    /** Seconds per call; what a call makes is released at its end. */
    double seconds(Runnable call) {
        double one = run(call, 1);
        int calls = 1;
        if (!once) {
            long start = System.nanoTime();
            double passed;
            int warm = 1;
            do {
                one = run(call, 1);
                warm++;
                passed = (System.nanoTime() - start) * 1e-9;
            } while (passed < WARM_UP_SECONDS || warm < WARM_UP_CALLS && passed < LONGEST_WARM_UP_SECONDS);
            calls = (int) Math.max(1, Math.min(MOST_CALLS, ROUND_SECONDS / one));
        }
        double[] seconds = new double[rounds];
        for (int i = 0; i < rounds; i++) {
            seconds[i] = run(call, calls) / calls;
        }
        return median(seconds);
    }

    /**
     * Seconds of the calling thread per call, the device's work not included: bursts that are shorter than the queue
     * before a device, which is empty again before the next.
     */
    double hostSeconds(Runnable call, int burst) {
        int bursts = once ? 2 : 200;
        double[] seconds = new double[bursts / 2];
        for (int i = 0; i < bursts; i++) {
            synchronize();
            try (Scope scope = Scope.open()) {
                long start = System.nanoTime();
                for (int j = 0; j < burst; j++) {
                    call.run();
                }
                if (i >= bursts / 2) {
                    seconds[i - bursts / 2] = (System.nanoTime() - start) * 1e-9 / burst;
                }
            }
        }
        return median(seconds);
    }

    /** The same for something that times so many calls itself, and leaves the device idle. */
    double hostSeconds(IntToDoubleFunction timed, int burst) {
        int bursts = once ? 2 : 200;
        double[] seconds = new double[bursts / 2];
        for (int i = 0; i < bursts; i++) {
            synchronize();
            double each = timed.applyAsDouble(burst);
            if (i >= bursts / 2) {
                seconds[i - bursts / 2] = each;
            }
        }
        return median(seconds);
    }

    private double run(Runnable call, int calls) {
        synchronize();
        long start = System.nanoTime();
        for (int i = 0; i < calls; i++) {
            try (Scope scope = Scope.open()) {
                call.run();
            }
        }
        synchronize();
        return (System.nanoTime() - start) * 1e-9;
    }

    private void synchronize() {
        Backends.of(device.type()).synchronize(device.index());
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        int n = sorted.length;
        return (sorted[n / 2] + sorted[(n - 1) / 2]) / 2;
    }
}
