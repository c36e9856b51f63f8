// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.sim;

/** How kernels are simulated, for the whole process, from the next launch on; what {@code CudaSim} shows to users. */
public final class SimSettings {
    private static volatile boolean checks = Boolean.getBoolean("merapi.cuda.sim.check");
    private static volatile long order = order(System.getProperty("merapi.cuda.sim.order", "forward"));

    private SimSettings() {}

    private static long order(String text) {
        return switch (text) {
            case "forward" -> 0;
            case "reverse" -> -1;
            default -> Long.parseLong(text);
        };
    }

    /** Whether accesses are checked. */
    public static boolean checks() {
        return checks;
    }

    public static void setChecks(boolean on) {
        checks = on;
    }

    /** In which order threads run: 0 by their numbers, −1 backwards, else at random by this seed. */
    public static long order() {
        return order;
    }

    public static void setOrder(long seed) {
        order = Math.max(-1, seed);
    }
}
