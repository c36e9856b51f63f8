// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backends;
import dev.merapi.device.Memory;
import dev.merapi.memory.MemoryStats;
import dev.merapi.storage.Backstop;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Runs a program on plain Java and on a device, and says what is wrong. */
final class Differential {
    /** Methods whose results have as many elements as the numbers say. */
    private static final Set<String> SIZES_OF_NUMBERS =
            Set.of("nonzero", "nonzeroByDim", "argwhere", "maskedSelect", "index", "bincount", "repeatInterleave");

    private static final long BETWEEN_WAITS = 300;

    /** What a step gave: an error, or the forms and contents of its tensors. */
    private record Outcome(@Nullable Throwable error, String forms, long contents) {}

    private final Device java;
    private final Device device;
    private final Replay replay;
    private final Catalogue catalogue;
    private final Coverage coverage = new Coverage();
    private boolean quick;
    private long programs;
    private long lastWait;

    Differential(Device java, Device device, Catalogue catalogue) {
        this.java = java;
        this.device = device;
        this.catalogue = catalogue;
        this.replay = new Replay(java, Catalogue.roundingEachTerm());
    }

    /** While a program is shrunk, what its scope does not free counts as left behind, without waiting for the collector. */
    void quick(boolean on) {
        quick = on;
    }

    Coverage coverage() {
        return coverage;
    }

    /** A program and what it showed. */
    record Verdict(Program program, List<Finding> findings) {}

    /** Makes the program of a seed while it runs on plain Java, then runs it on the device. */
    Verdict run(long seed) {
        List<Finding> findings = new ArrayList<>();
        List<Step> steps = new ArrayList<>();
        boolean wide = (seed & 3) == 0;
        Tracer tracer = new Tracer(replay, null, wide, coverage, findings);
        List<Outcome> outcomes = new ArrayList<>();
        coverage.features().beginProgram();
        MemoryStats before = Memory.stats(java);
        try (Run run = new Run(java, seed, tracer)) {
            new Composer(seed, catalogue, run, step -> {
                        List<Tensor> made = outcome(run, tracer, step, outcomes, findings);
                        steps.add(step.making(made == null ? 0 : made.size()));
                        return made;
                    })
                    .compose();
            ended(run, steps.size() - 1, findings);
        }
        Program program = new Program(seed, List.copyOf(steps));
        boolean leaks = grown(java, before);
        compare(program, tracer, outcomes, findings);
        if (leaks && findings.isEmpty() && !escapes(program) && mayWait()) {
            leak(program, java, findings);
        }
        programs++;
        coverage.program(outcomes.stream().anyMatch(o -> o.error != null));
        if (findings.isEmpty() && Slopes.apply(program)) {
            Slopes.check(program, java, coverage.features(), findings);
        }
        return new Verdict(program, findings);
    }

    /** Runs a given program on both. */
    List<Finding> run(Program program) {
        List<Finding> findings = new ArrayList<>();
        Tracer tracer = new Tracer(replay, null, true, coverage, findings);
        List<Outcome> outcomes = new ArrayList<>();
        MemoryStats before = Memory.stats(java);
        try (Run run = new Run(java, program.seed(), tracer)) {
            for (Step step : program.steps()) {
                outcome(run, tracer, step, outcomes, findings);
            }
            ended(run, program.steps().size() - 1, findings);
        }
        if (grown(java, before) && !escapes(program)) {
            leak(program, java, findings);
        }
        compare(program, tracer, outcomes, findings);
        if (Slopes.apply(program)) {
            Slopes.check(program, java, coverage.features(), findings);
        }
        return findings;
    }

    private void compare(Program program, Tracer twin, List<Outcome> outcomes, List<Finding> findings) {
        if (device == java) {
            return;
        }
        coverage.features().beginProgram();
        MemoryStats before = Memory.stats(device);
        Tracer tracer = new Tracer(replay, twin, false, coverage, findings);
        try (Run run = new Run(device, program.seed(), tracer)) {
            List<Outcome> own = new ArrayList<>();
            int last = program.steps().size() - 1;
            for (int i = 0; i <= last; i++) {
                Step step = program.steps().get(i);
                outcome(run, tracer, step, own, new ArrayList<>());
                if (differs(i, step, outcomes.get(i), own.get(i), findings)) {
                    last = i;
                }
            }
            ended(run, last, findings);
        }
        if (findings.isEmpty() && grown(device, before) && !escapes(program) && mayWait()) {
            leak(program, device, findings);
        }
    }

    /** Runs a step, and judges its error. */
    private @Nullable List<Tensor> outcome(
            Run run, Tracer tracer, Step step, List<Outcome> outcomes, List<Finding> findings) {
        tracer.beginStep();
        String name = step.callee().name();
        try {
            List<Tensor> made = run.step(step);
            outcomes.add(new Outcome(null, forms(made), Bits.of(made.toArray(new Tensor[0]))));
            coverage.step(name, null);
            coverage.features().step(step, run, made, null);
            return made;
        } catch (VirtualMachineError e) {
            throw e;
        } catch (Throwable e) {
            outcomes.add(new Outcome(e, "", 0));
            coverage.step(name, e);
            coverage.features().step(step, run, null, e);
            Finding wrong = Errors.judge(step, e, outcomes.size() - 1);
            if (wrong != null) {
                findings.add(wrong);
            }
            return null;
        }
    }

    private static boolean differs(int at, Step step, Outcome expected, Outcome actual, List<Finding> findings) {
        String name = step.callee().name();
        if (expected.error == null && actual.error == null) {
            if (hasSizesOfNumbers(step.callee())) {
                return !expected.forms.equals(actual.forms); // sizes come from numbers that may differ by an ulp
            }
            if (!expected.forms.equals(actual.forms)) {
                findings.add(new Finding(
                        Finding.Kind.DIFFERENT_FORM, name, at, actual.forms + "; on plain Java " + expected.forms));
                return true;
            }
            return false;
        }
        String one = String.valueOf(actual.error);
        String other = String.valueOf(expected.error);
        boolean same =
                expected.error != null && actual.error != null && expected.error.getClass() == actual.error.getClass();
        // In anomaly mode: plain Java computes in double, and has fewer numbers that are none.
        boolean overflow = (one + other).contains("has NaN");
        if (!same && !overflow) {
            findings.add(new Finding(
                    Finding.Kind.DIFFERENT_ERROR,
                    name,
                    at,
                    one.split("\n")[0] + "; on plain Java " + other.split("\n")[0]));
        }
        return !same;
    }

    /** Whether sizes come from numbers; also within a checkpoint, or on one of several threads. */
    private static boolean hasSizesOfNumbers(Callee callee) {
        return callee instanceof Checkpointed c && c.chain().stream().anyMatch(Differential::hasSizesOfNumbers)
                || callee instanceof Together t && t.calls().stream().anyMatch(Differential::hasSizesOfNumbers)
                || callee.name().startsWith("unique")
                || SIZES_OF_NUMBERS.contains(callee.name());
    }

    private static String forms(List<Tensor> made) {
        if (made.isEmpty()) {
            return "";
        }
        StringBuilder text = new StringBuilder();
        for (Tensor t : made) {
            text.append(t.dtype()).append(t.shape()).append(t.requiresGrad() ? " with gradient " : " ");
        }
        return text.toString();
    }

    private static void ended(Run run, int last, List<Finding> findings) {
        String wrong = run.endModes();
        if (wrong != null) {
            findings.add(new Finding(Finding.Kind.MODES, "program", last, wrong));
        }
    }

    // ---------------------------------------------------------------- memory

    private static boolean grown(Device device, MemoryStats before) {
        return Memory.stats(device).liveBlocks() > before.liveBlocks();
    }

    /** Collections take longer than programs: few programs are looked at one by one; all of them, later, together. */
    private boolean mayWait() {
        boolean now = quick || programs - lastWait >= BETWEEN_WAITS;
        lastWait = now ? programs : lastWait;
        return now;
    }

    /** Whether the end of its scope does not free all: gradients with a graph, and what leaves, wait for the collector. */
    private static boolean escapes(Program program) {
        return program.steps().stream()
                .anyMatch(s -> s.callee() == Action.LEAVE_SCOPE
                        || s.callee() == Action.COPYING_HOOKS
                        || s.callee() instanceof Together
                        || s.callee() instanceof Checkpointed
                        || s.args().contains(Autograd.Graph.CREATE));
    }

    /** Once more, without the garbage of others: what the program makes is gone with it. */
    private void leak(Program program, Device where, List<Finding> findings) {
        MemoryStats now = Memory.stats(where);
        alone(program, where);
        if (!grown(where, now)) {
            return;
        }
        if (quick) {
            findings.add(
                    new Finding(Finding.Kind.LEAK, "program", program.steps().size() - 1, "on " + where));
            return;
        }
        long[] grown = new long[2];
        for (int i = 0; i < grown.length; i++) {
            long before = liveBlocks(where);
            alone(program, where);
            grown[i] = liveBlocks(where) - before;
        }
        if (Arrays.stream(grown).allMatch(n -> n > 0)) {
            findings.add(new Finding(
                    Finding.Kind.LEAK,
                    "program",
                    program.steps().size() - 1,
                    Arrays.toString(grown) + " blocks more on " + where + " after each run"));
        }
    }

    private static void alone(Program program, Device where) {
        try (Run run = new Run(where, program.seed(), null)) {
            for (Step step : program.steps()) {
                try {
                    run.step(step);
                } catch (RuntimeException e) {
                    // judged before
                }
            }
            run.endModes();
        }
    }

    /** How many blocks are in use when all garbage is gone. */
    static long liveBlocks(Device device) {
        long blocks = Long.MAX_VALUE;
        for (int same = 0; same < 1; ) { // what is freed may have kept something else
            Backstop.collectNow();
            long now = Memory.stats(device).liveBlocks();
            same = now == blocks ? same + 1 : 0;
            blocks = now;
        }
        return blocks;
    }

    /** What the program of a seed leaves behind, also if it has to wait for the collector. */
    void checkMemory(Program program, List<Finding> findings) {
        leak(program, java, findings);
        if (findings.isEmpty() && device != java) {
            leak(program, device, findings);
        }
    }

    /** A device that plain Java serves, made at the first call. */
    static synchronized Device plainJava() {
        dev.merapi.types.DeviceType type = dev.merapi.types.DeviceType.register("java");
        if (!Backends.isAvailable(type)) {
            Backends.register(new dev.merapi.reference.JavaBackend(type));
        }
        return Device.of(type.name().toLowerCase(Locale.ROOT));
    }
}
