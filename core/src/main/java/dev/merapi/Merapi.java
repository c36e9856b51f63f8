// SPDX-License-Identifier: Apache-2.0
package dev.merapi;

import dev.merapi.device.Memory;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Determinism;
import dev.merapi.dispatch.Precision;
import dev.merapi.error.Artifact;
import dev.merapi.random.Generator;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;

/** Settings of the process, and what it runs on. {@code java -m dev.merapi.core/dev.merapi.Merapi} prints the latter. */
public final class Merapi {
    private Merapi() {}

    /** {@return the version of the engine, or "development" if it runs from a folder of classes} */
    public static String version() {
        return Artifact.version();
    }

    /**
     * Seeds the generator that random ops draw from where a thread has none of its own.
     *
     * @param seed any number; the same one gives the same numbers on every machine
     */
    public static void seed(long seed) {
        Generator.global().seed(seed);
    }

    /**
     * Whether results must be the same bits on every run and for every number of threads. Ops that cannot promise that
     * then refuse to run; matrix products use fixed tiles. Off by default.
     *
     * @param on whether they must
     */
    public static void deterministic(boolean on) {
        Determinism.set(on);
    }

    /** {@return whether results must be the same bits on every run} */
    public static boolean isDeterministic() {
        return Determinism.isOn();
    }

    /**
     * Whether products of float32 matrices may round their operands to tf32, ten bits of fraction instead of 23, for the
     * sake of tensor cores; sums stay float32. Off by default; devices without tf32 don't look at it.
     *
     * @param allowed whether they may
     */
    public static void allowTf32(boolean allowed) {
        Precision.allowTf32(allowed);
    }

    /** {@return whether products of float32 matrices may round their operands to tf32} */
    public static boolean isTf32Allowed() {
        return Precision.isTf32Allowed();
    }

    /**
     * Distrusts kernels on this thread: finds undeclared writes and aliases, bit for bit. Slow; for tests.
     *
     * @param on whether they are distrusted from now on
     */
    public static void checked(boolean on) {
        Context.current().setChecked(on);
    }

    /** {@return one line for each device that works here, and why others do not} */
    public static String describe() {
        StringBuilder s = new StringBuilder("Merapi " + version() + ", Java " + Runtime.version() + ", "
                + System.getProperty("os.name") + " " + System.getProperty("os.arch"));
        for (DeviceType type : DeviceType.all()) {
            try {
                int count = BackendChoice.of(type).deviceCount();
                for (int i = 0; i < count; i++) {
                    describe(s, Device.of(type, i));
                }
            } catch (RuntimeException e) {
                s.append(notAvailable(type, e));
            }
        }
        return s.toString();
    }

    private static void describe(StringBuilder s, Device device) {
        try {
            long cap = Memory.stats(device).cap() >> 20; // begins with the device, of which the backend then tells more
            String what = BackendChoice.of(device.type()).description();
            s.append("\n  ")
                    .append(device)
                    .append(": ")
                    .append(what)
                    .append(", memory cap ")
                    .append(cap)
                    .append(" MiB");
        } catch (RuntimeException e) {
            s.append(notAvailable(device, e));
        }
    }

    private static String notAvailable(Object what, RuntimeException e) {
        return "\n  " + what + ": not available: "
                + String.valueOf(e.getMessage()).replace("\n", ";");
    }

    /**
     * Prints {@link #describe()}.
     *
     * @param args not looked at
     */
    public static void main(String[] args) {
        System.out.println(describe());
    }
}
