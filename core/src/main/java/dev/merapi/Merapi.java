// SPDX-License-Identifier: Apache-2.0
package dev.merapi;

import dev.merapi.dispatch.Backends;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Determinism;
import dev.merapi.dispatch.Precision;
import dev.merapi.random.Generator;
import dev.merapi.storage.MemoryStats;
import dev.merapi.tensor.Memory;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;

/** Settings of the process, and what it runs on. {@code java -m dev.merapi.core/dev.merapi.Merapi} prints the latter. */
public final class Merapi {
    private Merapi() {}

    /** The version of the engine, or "development". */
    public static String version() {
        Module module = Merapi.class.getModule();
        return module.getDescriptor() != null
                ? module.getDescriptor().rawVersion().orElse("development")
                : "development";
    }

    /** Seeds the generator that random ops draw from where a thread has none of its own. */
    public static void seed(long seed) {
        Generator.global().seed(seed);
    }

    /**
     * Whether results must be the same bits on every run and for every number of threads. Ops that cannot promise that
     * then refuse to run; matrix products use fixed tiles. Off by default.
     */
    public static void deterministic(boolean on) {
        Determinism.set(on);
    }

    public static boolean isDeterministic() {
        return Determinism.isOn();
    }

    /**
     * Whether products of float32 matrices may round their operands to tf32, ten bits of fraction instead of 23, for the
     * sake of tensor cores; sums stay float32. Off by default; devices without tf32 don't look at it.
     */
    public static void allowTf32(boolean allowed) {
        Precision.allowTf32(allowed);
    }

    public static boolean isTf32Allowed() {
        return Precision.isTf32Allowed();
    }

    /** Distrusts kernels on this thread: finds undeclared writes and aliases, bit for bit. Slow; for tests. */
    public static void checked(boolean on) {
        Context.current().setChecked(on);
    }

    /** One line for each device that works here, and why others do not. */
    public static String describe() {
        StringBuilder s = new StringBuilder("Merapi " + version() + ", Java " + Runtime.version() + ", "
                + System.getProperty("os.name") + " " + System.getProperty("os.arch"));
        for (DeviceType type : DeviceType.all()) {
            try {
                String what = Backends.of(type).description();
                for (int i = 0; i < Backends.of(type).deviceCount(); i++) {
                    Device device = Device.of(type, i);
                    MemoryStats m = Memory.stats(device);
                    s.append("\n  ")
                            .append(device)
                            .append(": ")
                            .append(what)
                            .append(", memory cap ")
                            .append(m.cap() >> 20)
                            .append(" MiB");
                }
            } catch (RuntimeException e) {
                String text = String.valueOf(e.getMessage());
                s.append("\n  ").append(type).append(": not available: ").append(text.replace("\n", ";"));
            }
        }
        return s.toString();
    }

    /** Prints {@link #describe()}. */
    public static void main(String[] args) {
        System.out.println(describe());
    }
}
