// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backends;
import dev.merapi.device.Memory;
import dev.merapi.error.OpError;
import dev.merapi.error.OutOfMemoryException;
import dev.merapi.reference.JavaBackend;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The op of a row called with all its {@link EdgeSizes}, and differentiated twice: each call gives what plain Java gives on
 * a toy device, or both refuse it by an exception of the project, soon and by the name of the op. No other exception, and
 * nothing that takes long.
 */
final class EdgeCalls<A extends Record, R> {
    /** More than this many elements of a sample are left to other tests. */
    private static final long LARGEST = 4096;

    /** Bytes that may be allocated: enough for every sample, and refused quickly where a size is huge. */
    private static final long ROOM = 32L << 20;

    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();
    private static final long SLOW_NANOS = 2_000_000_000L;

    private final OpSamples<A, R> row;
    private final Device device;
    private final @Nullable Device oracle;
    private final List<String> failures = new ArrayList<>();
    private int calls;
    private int refused;

    EdgeCalls(OpSamples<A, R> row, Device device) {
        this.row = row;
        this.device = device;
        Device java = plainJava();
        this.oracle = device == java ? null : java;
    }

    /** A device whose kernels are plain Java, whatever else is there. */
    static Device plainJava() {
        DeviceType toy = DeviceType.register("toy");
        if (!Backends.isAvailable(toy)) {
            Backends.register(new JavaBackend(toy));
        }
        return Device.of("toy");
    }

    int calls() {
        return calls;
    }

    int refused() {
        return refused;
    }

    /** What is wrong, one finding a line. */
    List<String> failures() {
        return failures;
    }

    void run(long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        boolean first = true;
        long cap = Memory.stats(device).cap();
        Memory.setCap(device, Memory.stats(device).allocated() + ROOM);
        try {
            for (OpSamples.Sample<A> sample : row.samples()) {
                DType dtype =
                        row.dtypes().get(random.nextInt(Math.min(4, row.dtypes().size())));
                try (Scope scope = Scope.open()) {
                    A args = sample.make().apply(new Maker(dtype, device, seed, true));
                    if (elements(args) > LARGEST) {
                        continue;
                    }
                    String name = row + " " + dtype + " " + sample.name() + ": ";
                    var schema = row.op().schema();
                    EdgeSizes.ofTensors(schema, row.toString(), args)
                            .forEach(c -> compare(name + c.name(), c.args(), args));
                    if (first) {
                        EdgeSizes.ofIntegers(args, seed).forEach(c -> compare(name + c.name(), c.args(), args));
                        EdgeSizes.withoutMemory(schema, row.toString(), args)
                                .forEach(c -> compare(name + c.name(), c.args(), args));
                    }
                    first = false;
                }
            }
        } finally {
            Memory.setCap(device, cap);
        }
    }

    private long elements(A args) {
        return Arrays.stream(row.op().schema().tensors(row.toString(), args))
                .filter(Objects::nonNull)
                .mapToLong(Tensor::numel)
                .sum();
    }

    // ---------------------------------------------------------------- one call

    /** The values of a call, its gradients, and theirs; and what ended it before. */
    private record Outcome(
            List<@Nullable Grid> values, @Nullable RuntimeException refusal) {}

    private void compare(String name, A args, A sample) {
        calls++;
        try (Scope scope = Scope.open()) {
            // Of the processor: a machine that others use, or an emulator that loads a library, is no fault of an op.
            long begin = THREADS.getCurrentThreadCpuTime();
            Outcome actual = outcome(device, args, sample);
            long took = THREADS.getCurrentThreadCpuTime() - begin;
            if (took > SLOW_NANOS) {
                failures.add(name + ": took " + took / 1_000_000 + " ms");
            }
            RuntimeException refusal = actual.refusal;
            if (refusal != null) {
                refused++;
                judge(name, refusal);
            }
            if (refusal instanceof OutOfMemoryException) {
                return;
            }
            if (oracle != null) {
                meet(name, actual, outcome(oracle, args, sample), args);
            }
        } catch (RuntimeException | Error e) {
            failures.add(name + ": " + e + " at "
                    + Arrays.stream(e.getStackTrace()).limit(6).toList());
        }
    }

    private void judge(String name, RuntimeException e) {
        if (!e.getClass().getPackageName().startsWith("dev.merapi.")) {
            failures.add(name + ": " + e + " at "
                    + Arrays.stream(e.getStackTrace()).limit(6).toList());
            return;
        }
        if (!(e instanceof OpError error) || error.op() == null) {
            failures.add(name + ": the op is not named: " + e);
        }
    }

    private void meet(String name, Outcome actual, Outcome expected, A args) {
        RuntimeException a = actual.refusal;
        RuntimeException e = expected.refusal;
        if (e != null && !e.getClass().getPackageName().startsWith("dev.merapi.")) {
            failures.add(name + ": plain Java: " + e + " at "
                    + Arrays.stream(e.getStackTrace()).limit(6).toList());
            return;
        }
        if (e instanceof OutOfMemoryException) {
            return;
        }
        if ((a == null ? null : a.getClass()) != (e == null ? null : e.getClass())) {
            failures.add(name + ": " + (a == null ? "works" : a.toString()) + ", in plain Java "
                    + (e == null ? "it works" : e.toString()));
            return;
        }
        for (int i = 0; i < Math.min(actual.values.size(), expected.values.size()); i++) {
            near(name + ", value " + i, expected.values.get(i), actual.values.get(i), args);
        }
    }

    private void near(String name, @Nullable Grid expected, @Nullable Grid actual, A args) {
        if (expected == null || actual == null) {
            if (expected != actual) {
                failures.add(name + ": " + (actual == null ? "is missing" : "is there, but not in plain Java"));
            }
            return;
        }
        if (!Arrays.equals(expected.shape(), actual.shape())) {
            failures.add(
                    name + ": " + Arrays.toString(actual.shape()) + " instead of " + Arrays.toString(expected.shape()));
            return;
        }
        double epsilon = Stream.of(row.op().schema().tensors(row.toString(), args))
                .filter(t -> t != null && t.dtype().isFloating())
                .mapToDouble(t -> t.dtype().epsilon())
                .max()
                .orElse(1e-7);
        double largest = 1;
        for (double v : expected.values()) {
            largest = Double.isFinite(v) ? Math.max(largest, Math.abs(v)) : largest;
        }
        for (int i = 0; i < expected.values().length; i++) {
            double e = expected.values()[i];
            double a = actual.values()[i];
            if (Double.compare(a, e) != 0 && !(Math.abs(a - e) <= 256 * epsilon * largest)) {
                failures.add(name + "[" + i + "]: " + a + " instead of " + e);
                return;
            }
        }
    }

    private Outcome outcome(Device on, A args, A sample) {
        List<@Nullable Grid> values = new ArrayList<>();
        try {
            var op = row.op();
            boolean[] written = op.definition().isMutating() ? op.definition().mutatedSlots(args) : null;
            A given = EdgeSizes.onto(on, op.schema(), op.name(), wanting(args, sample), written);
            Tensor[] inputs = op.schema().tensors(op.name(), given);
            List<Tensor> outputs = outputs(given, inputs, written);
            outputs.forEach(t -> values.add(grid(t)));
            List<Tensor> wanted = Stream.of(inputs)
                    .filter(t -> t != null && t.requiresGrad())
                    .distinct()
                    .toList();
            List<Tensor> next = outputs;
            for (int order = 1; order <= 2; order++) {
                List<Tensor> from = next.stream()
                        .filter(t -> t != null && t.requiresGrad() && t.numel() <= LARGEST)
                        .toList();
                if (from.isEmpty() || wanted.isEmpty()) {
                    break;
                }
                List<Tensor> weights = new ArrayList<>();
                for (Tensor t : from) {
                    weights.add(weight(t, order));
                }
                next = Autograd.grad(from, wanted, weights, Autograd.Graph.CREATE, true);
                next.forEach(t -> values.add(grid(t)));
            }
            return new Outcome(values, null);
        } catch (RuntimeException e) {
            return new Outcome(values, e);
        }
    }

    /** Null for what has no values, or too many of them: a view that repeats a few. */
    private static @Nullable Grid grid(@Nullable Tensor t) {
        return t == null || t.isMeta() || t.numel() > LARGEST ? null : Grid.of(t);
    }

    /** Whether a tensor wants a gradient is lost where it was cut; the sample knows. */
    private A wanting(A args, A sample) {
        Tensor[] now = row.op().schema().tensors(row.toString(), args);
        Tensor[] before = row.op().schema().tensors(row.toString(), sample);
        for (int i = 0; i < now.length; i++) {
            if (now[i] != null && !now[i].isMeta()) {
                now[i] = now[i].detach().requiresGrad(before[i] != null && before[i].requiresGrad());
            }
        }
        return row.op().schema().rebuild(args, now);
    }

    private static Tensor weight(Tensor t, int order) {
        if (t.isMeta()) {
            return Tensor.meta(t.shape(), t.dtype(), t.device());
        }
        double[] w = new double[Math.toIntExact(t.numel())];
        for (int i = 0; i < w.length; i++) {
            w[i] = (i % 5 - 2) * 0.25 + order * 0.125;
        }
        return Tensor.of(w, t.shape().toArray()).to(t.dtype()).to(t.device());
    }

    private List<Tensor> outputs(A args, Tensor[] inputs, boolean @Nullable [] written) {
        R result = row.op().call(args);
        Tensor[] tensors = row.op().result().tensors(row.op().name(), result);
        List<Tensor> seen = new ArrayList<>();
        for (int i = 0; i < tensors.length; i++) {
            if (!row.op().definition().isInternal(result, i)) {
                seen.add(tensors[i]);
            }
        }
        for (int i = 0; tensors.length == 0 && written != null && i < inputs.length; i++) {
            if (written[i]) {
                seen.add(inputs[i]);
            }
        }
        return seen;
    }
}
