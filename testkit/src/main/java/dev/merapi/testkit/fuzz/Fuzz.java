// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.testkit.OpRows;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.LongConsumer;

/**
 * Runs random programs on plain Java and on another device, and finds where they disagree with each other, with float64,
 * with differences of outputs, or with what is documented.
 *
 * <p>A program is made from a seed: {@link Composer}. {@link Differential} runs it, {@link Tracer} holds every call of an
 * op against the same call in plain Java and float64, {@link Slopes} the gradients against differences. What was found is
 * made smaller by {@link Shrinker} and printed by {@link JavaPrinter}. {@link FuzzWorker} is the command line.
 */
public final class Fuzz {
    /** One fault: what it is, the seed, and the smallest program that shows it. */
    public record Report(String key, long seed, String detail, List<String> calls, String lines, String program) {
        @Override
        public String toString() {
            return key + " (seed " + seed + "): " + detail + "\n" + lines;
        }
    }

    /** Faults that do not say which op they are of: so many are shrunk, to see whether they are one. */
    private static final int SHRUNK = 4;

    private static final int BETWEEN_CHECKS = 5000;
    /** Blocks that may stay: constants and caches that are made at first use. */
    private static final int STAYS = 64;

    private final Device device;
    private final Device java = Differential.plainJava();
    private final Catalogue catalogue;
    private final Differential differential;
    private final Map<String, Integer> seen = new HashMap<>();
    private final List<Report> reports = new ArrayList<>();
    private final Set<String> shapes = new HashSet<>();
    private LongConsumer starting = seed -> {};
    private long programs;

    /** @param device what is compared with plain Java */
    public Fuzz(Device device) {
        this(device, !device.type().name().equals("cpu"));
    }

    /** @param closed whether only a small, fixed set of kernels may be needed: each new one may cost a compiler's run */
    public Fuzz(Device device, boolean closed) {
        this.device = device;
        this.catalogue = new Catalogue(closed);
        this.differential = new Differential(java, device, catalogue);
    }

    /** Told the seed of each program before it runs: if the process dies, that one did it. */
    public Fuzz onStart(LongConsumer listener) {
        starting = listener;
        return this;
    }

    /** The seed of the {@code i}-th program of a series. */
    public static long seed(long series, long i) {
        long z = series * 0x9e3779b97f4a7c15L + i;
        z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
        z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
        return z ^ z >>> 31;
    }

    /** Runs the programs {@code from … to} of a series, or those that there is time for; returns how many. */
    public long run(long series, long from, long to, long nanos) {
        long end = System.nanoTime() + nanos;
        long i = from;
        long checked = i;
        long blocks = blocks();
        for (; i < to && (nanos == 0 || System.nanoTime() < end); i++) {
            one(seed(series, i));
            if (i - checked == BETWEEN_CHECKS) {
                blocks = memory(series, checked, i, blocks);
                checked = i;
            }
        }
        memory(series, checked, i, blocks);
        return i - from;
    }

    private long blocks() {
        return Differential.liveBlocks(java) + Differential.liveBlocks(device);
    }

    /** Programs whose memory waits for the collector: looked at one by one if together they left something behind. */
    private long memory(long series, long from, long to, long before) {
        long now = blocks();
        for (long i = from; i < to && now > before + STAYS; i++) {
            List<Finding> findings = new ArrayList<>();
            Program program = differential.run(seed(series, i)).program();
            differential.checkMemory(program, findings);
            if (!findings.isEmpty()) {
                seen.merge(findings.get(0).key(), 1, Integer::sum);
                reports.add(report(program, findings.get(0)));
                break;
            }
        }
        return now;
    }

    /** Runs one program; a fault that is new is shrunk and reported. */
    public void one(long seed) {
        starting.accept(seed);
        Differential.Verdict verdict;
        programs++;
        try {
            verdict = differential.run(seed);
        } catch (RuntimeException e) { // in the fuzzer, not in what a program calls
            String key = "FUZZER " + e.getClass().getSimpleName() + " " + e.getStackTrace()[0];
            if (seen.merge(key, 1, Integer::sum) == 1) {
                reports.add(new Report(
                        key, seed, String.valueOf(e.getMessage()), List.of(), Arrays.toString(e.getStackTrace()), ""));
            }
            return;
        }
        for (Finding f : verdict.findings()) {
            int times = seen.merge(f.key(), 1, Integer::sum);
            if (times == 1 || times <= SHRUNK && f.isOfWholeProgram()) {
                Report r = report(verdict.program(), f);
                if (shapes.add(r.key() + r.calls())) {
                    reports.add(r);
                }
            }
        }
    }

    private Report report(Program program, Finding finding) {
        Program small = program;
        Finding said = finding;
        differential.quick(true);
        try {
            small = new Shrinker(java, p -> shows(p, finding.key())).shrink(program, finding.step());
            differential.quick(false);
            for (Finding f : differential.run(small)) {
                said = f.key().equals(finding.key()) ? f : said;
            }
        } catch (RuntimeException e) {
            said = new Finding(
                    finding.kind(), finding.op(), finding.step(), finding.detail() + " (not shrunk: " + e + ")");
        } finally {
            differential.quick(false);
        }
        return new Report(
                finding.key(),
                program.seed(),
                said.detail(),
                calls(small),
                JavaPrinter.lines(small),
                JavaPrinter.print(small, device));
    }

    private static List<String> calls(Program program) {
        return program.steps().stream()
                .map(step -> step.callee().name())
                .filter(name -> !name.equals("leaf"))
                .toList();
    }

    private boolean shows(Program p, String key) {
        return differential.run(p).stream().anyMatch(f -> f.key().equals(key));
    }

    /** The program of a seed, made on plain Java alone: for one that ended the process. */
    public String print(long seed) {
        return JavaPrinter.print(
                new Differential(java, java, catalogue).run(seed).program(), device);
    }

    public List<Report> reports() {
        return reports;
    }

    /** How often each kind of fault was seen. */
    public Map<String, Integer> seen() {
        return seen;
    }

    public long programs() {
        return programs;
    }

    /** The built-in ops that no program has called so far, those apart that none ever calls: {@link RowlessOps#NEVER}. */
    public Set<String> unreached() {
        Set<String> missing = new TreeSet<>(OpRows.without().keySet());
        OpRows.all().forEach(row -> missing.add(row.op().name()));
        missing.removeIf(op -> differential.coverage().reached(op));
        missing.removeAll(RowlessOps.NEVER.keySet());
        return missing;
    }

    /** What the programs reached: ops, dtypes, layouts, and what was refused. */
    public String coverage() {
        return differential.coverage()
                + (catalogue.isClosed() ? "" : "\n  never called " + unreached())
                + "\n  most refused\n" + differential.coverage().refusals(12);
    }
}
