// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backends;
import dev.merapi.check.OpCheck;
import dev.merapi.device.Memory;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.error.DTypeException;
import dev.merapi.error.MissingKernelException;
import dev.merapi.expr.ir.Variable;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.storage.Backstop;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.TestInstance;

/**
 * What every backend must do, op by op: extend this with a device, and each row of {@link OpRows} is run on it.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
public abstract class BackendContract {
    /** Bytes that may stay: constants and caches that are made at first use. */
    private static final long STAYS = 1 << 16;

    /** The tag of tests that go through the rows: a slow machine runs them in {@linkplain #isOfThisPart parts}. */
    static final String ROW_BY_ROW = "rows";

    private long allocatedBefore;

    /** The device whose backend is tested. */
    protected abstract Device device();

    @BeforeAll
    void rememberMemory() {
        allocatedBefore = allocatedWithoutGarbage();
    }

    /** Thousands of calls, gradients and refused calls later. */
    @AfterAll
    void nothingIsLeftBehind() {
        long after = allocatedWithoutGarbage();
        Assertions.assertTrue(
                after - allocatedBefore <= STAYS,
                () -> device() + ": " + (after - allocatedBefore) + " bytes are still allocated after all tests");
    }

    private long allocatedWithoutGarbage() {
        Backstop.collectNow();
        return Memory.stats(device()).allocated();
    }

    /** Rows that this backend is not ready for, by op name, with the reason. */
    protected Map<String, String> notYet() {
        return Map.of();
    }

    /** Whether a row says something about what is tested; all do, unless it is only a part of a backend. */
    protected boolean concerns(OpSamples<?, ?> row) {
        return true;
    }

    /** Of {@code -Dmerapi.tests.rows=2/6} every sixth row, from the second on: six processes, one after the other, run all. */
    private static boolean isOfThisPart(int row) {
        String[] part = System.getProperty("merapi.tests.rows", "1/1").split("/");
        int parts = Integer.parseInt(part[1]);
        return row % parts == Integer.parseInt(part[0]) - 1;
    }

    /** In how many parts the rows are run, one a day: more than one where they are dear. See {@link Rotation}. */
    protected int parts() {
        return 1;
    }

    /** In how many parts the rows are run with the integers that differ from others in few places, one a day. */
    protected int partsOfSmallIntegers() {
        return 2;
    }

    private List<OpSamples<?, ?>> chosen = List.of();

    private Stream<OpSamples<?, ?>> rows() {
        if (chosen.isEmpty()) {
            List<OpSamples<?, ?>> ready = OpRows.all().stream()
                    .filter(row -> !notYet().containsKey(row.op().name()) && concerns(row))
                    .toList();
            ready = IntStream.range(0, ready.size())
                    .filter(BackendContract::isOfThisPart)
                    .<OpSamples<?, ?>>mapToObj(ready::get)
                    .toList();
            chosen = parts() == 1
                    ? ready
                    : Rotation.today(
                            getClass().getSimpleName(), ready, row -> row.op().name(), parts());
        }
        return chosen.stream();
    }

    // ---------------------------------------------------------------- forward against the reference

    @TestFactory
    @Tag(ROW_BY_ROW)
    Stream<DynamicNode> forwardMeetsTheFloat64Reference() {
        return rows().map(row -> dynamicContainer(row.toString(), parity(row)));
    }

    private <A extends Record, R> Stream<DynamicTest> parity(OpSamples<A, R> row) {
        List<DynamicTest> tests = new ArrayList<>();
        for (DType dtype : row.dtypes()) {
            if (Kinds.isSmallInteger(dtype) && !Rotation.isToday(row.op().name() + dtype, partsOfSmallIntegers())) {
                continue;
            }
            for (OpSamples.Sample<A> sample : row.samples()) {
                String name = row + " " + dtype + " " + device() + " " + sample.name();
                tests.add(dynamicTest(name, () -> compare(name, row, sample, dtype, device())));
            }
        }
        return tests.stream();
    }

    /**
     * Runs every sample of a row on a device, and compares the results with the float64 reference: in float32, or in the
     * first dtype that the row has.
     */
    public static <A extends Record, R> void meetsTheReference(OpSamples<A, R> row, Device device) {
        DType dtype = row.dtypes().contains(DType.FLOAT32)
                ? DType.FLOAT32
                : row.dtypes().get(0);
        for (OpSamples.Sample<A> sample : row.samples()) {
            compare(row + " " + dtype + " " + device + " " + sample.name(), row, sample, dtype, device);
        }
    }

    private static <A extends Record, R> void compare(
            String name, OpSamples<A, R> row, OpSamples.Sample<A> sample, DType dtype, Device device) {
        try (Scope scope = Scope.open()) {
            A args = sample.make().apply(new Maker(dtype, device, seed(name), false));
            List<Grid> expected = row.expected(args);
            List<Grid> scale = row.scale(args);
            List<Tensor> outputs = Autograd.noGrad(() -> outputs(row, args));
            if (expected == null) {
                return; // it ran; what it gives is checked elsewhere
            }
            Assertions.assertEquals(expected.size(), outputs.size(), name + ": number of outputs");
            Tolerance tolerance = row.tolerance(args);
            for (int i = 0; i < expected.size(); i++) {
                tolerance.check(
                        name + ", output " + i, expected.get(i), scale == null ? null : scale.get(i), outputs.get(i));
            }
        }
    }

    private static <A extends Record, R> List<Tensor> outputs(OpSamples<A, R> row, A args) {
        R result = row.op().call(args);
        Tensor[] tensors = row.op().result().tensors(row.op().name(), result);
        List<Tensor> seen = new ArrayList<>();
        for (int i = 0; i < tensors.length; i++) {
            if (!row.op().definition().isInternal(result, i)) {
                seen.add(tensors[i]);
            }
        }
        if (tensors.length == 0) { // an op that only writes: what it wrote
            boolean[] mutated = row.op().definition().mutatedSlots(args);
            Tensor[] inputs = row.op().schema().tensors(row.op().name(), args);
            for (int i = 0; i < inputs.length; i++) {
                if (mutated[i]) {
                    seen.add(inputs[i]);
                }
            }
        }
        return seen;
    }

    private static long seed(String name) {
        return name.hashCode() * 0x9e3779b97f4a7c15L;
    }

    // ---------------------------------------------------------------- gradients in 16 bits

    /** Every gradient that there is in float64 is there in 16 bits, and agrees within their rounding. */
    @TestFactory
    @Tag(ROW_BY_ROW)
    Stream<DynamicTest> sixteenBitGradientsAgreeWithFloat64() {
        return rows().filter(BackendContract::isDifferentiable)
                .flatMap(row -> Stream.of(DType.FLOAT16, DType.BFLOAT16)
                        .filter(row.dtypes()::contains)
                        .map(dtype -> dynamicTest(
                                row + " " + dtype + " " + device(), () -> compareGradients(row, dtype, device()))));
    }

    private static boolean isDifferentiable(OpSamples<?, ?> row) {
        var op = row.op().definition();
        return !op.isNonDifferentiable()
                && !op.isMutating()
                && (op.hasBackward() || op.compose() != null || op.isView())
                && !row.op().schema().tensorNames().isEmpty();
    }

    private static <A extends Record, R> void compareGradients(OpSamples<A, R> row, DType dtype, Device device) {
        for (OpSamples.Sample<A> sample : row.samples()) {
            if (!sample.checked()) {
                continue;
            }
            String name = row + " " + dtype + " " + device + " " + sample.name();
            try (Scope scope = Scope.open()) {
                A low = sample.make().apply(new Maker(dtype, device, seed(name), true));
                Tensor[] inputs = row.op().schema().tensors(row.op().name(), low);
                Tensor[] exact = inputs.clone();
                for (int i = 0; i < inputs.length; i++) {
                    Tensor t = inputs[i];
                    if (t != null && t.dtype().isFloating()) { // statistics that are kept in float32, too
                        exact[i] = t.detach().to(DType.FLOAT64).requiresGrad(t.requiresGrad());
                    }
                }
                List<Tensor> actual = gradients(row, low, inputs, seed(name));
                List<Tensor> expected = gradients(row, row.op().schema().rebuild(low, exact), exact, seed(name));
                double factor = 32 + 4 * Math.sqrt(row.termsOf(low));
                for (int i = 0; i < expected.size(); i++) {
                    closeToDouble(name + ", gradient " + i, expected.get(i), actual.get(i), factor * dtype.epsilon());
                }
            }
        }
    }

    private static void closeToDouble(
            String name, @Nullable Tensor expected, @Nullable Tensor actual, double relative) {
        Assertions.assertEquals(expected == null, actual == null, name + ": is there or not");
        if (expected == null || actual == null || expected.numel() == 0) {
            return;
        }
        double[] a = expected.toDoubleArray();
        double[] b = actual.to(DType.FLOAT64).toDoubleArray();
        double largest = java.util.Arrays.stream(a).map(Math::abs).max().orElse(0);
        double bound = relative * Math.max(0.1, largest);
        for (int i = 0; i < a.length; i++) {
            int at = i;
            Assertions.assertTrue(
                    Math.abs(a[i] - b[i]) <= bound,
                    () -> name + "[" + at + "]: " + b[at] + " instead of " + a[at] + ", bound " + bound);
        }
    }

    /** Of all inputs that want one, for outputs weighted at random; null where none flows. */
    private static <A extends Record, R> List<@Nullable Tensor> gradients(
            OpSamples<A, R> row, A args, @Nullable Tensor[] inputs, long seed) {
        List<Tensor> wanted = Stream.of(inputs)
                .filter(t -> t != null && t.requiresGrad())
                .distinct()
                .toList();
        List<Tensor> outputs =
                outputs(row, args).stream().filter(Tensor::requiresGrad).toList();
        if (wanted.isEmpty() || outputs.isEmpty()) {
            return List.of();
        }
        List<Tensor> weights = new ArrayList<>();
        for (Tensor out : outputs) {
            Maker small = new Maker(DType.BFLOAT16, out.device(), seed + weights.size(), false);
            weights.add(small.uniform(-1, 1, out.shape().toArray()).to(out.dtype()));
        }
        return Autograd.grad(outputs, wanted, weights, Autograd.Graph.FREE, true);
    }

    // ---------------------------------------------------------------- everything else

    private static final List<String> SLOW_ON_DEVICES = List.of(
            "threads",
            "gradients at other sizes",
            "gradients of other layouts",
            "gradients of some inputs",
            "forward mode");

    @TestFactory
    @Tag(ROW_BY_ROW)
    Stream<DynamicNode> opsPassOpCheck() {
        return rows().map(row -> dynamicContainer(row.toString(), checks(row)));
    }

    private <A extends Record, R> Stream<DynamicTest> checks(OpSamples<A, R> row) {
        DType dtype = row.dtypes().contains(DType.FLOAT64)
                ? DType.FLOAT64
                : row.dtypes().get(0);
        List<OpCheck.Line> lines = new ArrayList<>();
        Stream<DynamicTest> samples = row.samples().stream()
                .filter(OpSamples.Sample::checked)
                .map(sample -> {
                    String name = row + " " + device() + " " + sample.name();
                    return dynamicTest(name, () -> {
                        try (Scope scope = Scope.open()) {
                            A args = sample.make().apply(new Maker(dtype, device(), seed(name), true));
                            OpCheck<A, R> check =
                                    OpCheck.of(row.op()).samples(List.of(args)).seed(seed(name));
                            check.skip("other dtypes", "compared with float64 references by the contract");
                            check.skip("gradients in other dtypes", "compared by the contract");
                            if (!BackendChoice.allocator(device()).isJavaVisible()) {
                                for (String slow : SLOW_ON_DEVICES) {
                                    check.skip(slow, "done on the CPU; new sizes are new kernels here");
                                }
                            }
                            row.skips().forEach(check::skip);
                            lines.addAll(check.run().orThrow().lines());
                        }
                    });
                });
        boolean differentiable =
                row.op().definition().hasBackward() && !row.skips().containsKey("gradients");
        // A sample that asks for no gradient skips that check; not all of them may.
        DynamicTest gradients = dynamicTest(row + " " + device() + ": gradients were compared", () -> {
            boolean compared = lines.isEmpty() // the samples were deselected, or failed and say so themselves
                    || lines.stream()
                            .anyMatch(l -> l.check().equals("gradients") && l.outcome() == OpCheck.Outcome.PASS);
            if (!compared) {
                throw new AssertionError(row + ": no sample had its gradients compared: " + lines);
            }
        });
        return differentiable ? Stream.concat(samples, Stream.of(gradients)) : samples;
    }

    // ---------------------------------------------------------------- dtypes, and writing in place

    /** What a row does not promise works all the same, or is refused by an exception that names the op. */
    @TestFactory
    @Tag(ROW_BY_ROW)
    Stream<DynamicTest> otherDtypesWorkOrAreRefusedByName() {
        return rows().flatMap(this::otherDtypes);
    }

    private <A extends Record, R> Stream<DynamicTest> otherDtypes(OpSamples<A, R> row) {
        OpSamples.Sample<A> sample = row.samples().get(0);
        return Stream.of(DType.values()).filter(d -> !row.dtypes().contains(d)).map(dtype -> {
            String name = row + " " + dtype + " " + device();
            return dynamicTest(name, () -> {
                try (Scope scope = Scope.open()) {
                    A args;
                    try {
                        args = sample.make().apply(new Maker(dtype, device(), seed(name), false));
                    } catch (DTypeException e) {
                        return; // not even the sample can be made
                    }
                    try {
                        row.op().call(args);
                    } catch (DTypeException | MissingKernelException e) {
                        String local =
                                row.op().name().substring("merapi::".length()).replace("_", "");
                        String said =
                                String.valueOf(e.getMessage()).replace("_", "").toLowerCase(Locale.ROOT);
                        // An op that runs as a composition is refused by one of its parts, under that one's name.
                        boolean composed = row.op().definition().compose() != null && said.contains("merapi::");
                        Assertions.assertTrue(
                                composed || said.contains(local), () -> "the op is not named: " + e.getMessage());
                    }
                }
            });
        });
    }

    /** The pointwise ops whose in-place forms are tried, those that have no method too. */
    protected List<PointwiseOp> inPlace() {
        return Ops.pointwise();
    }

    /** The in-place form writes what the op returns, or refuses what it cannot store; the tensor and its version tell. */
    @TestFactory
    Stream<DynamicTest> pointwiseOpsWriteInPlace() {
        return Stream.of(DType.FLOAT32, DType.BFLOAT16, DType.INT64, DType.BOOL)
                .map(dtype -> dynamicTest("in place, " + dtype + " " + device(), () -> {
                    List<String> wrong = new ArrayList<>();
                    int written = 0;
                    for (PointwiseOp op : inPlace()) {
                        try (Scope scope = Scope.open()) {
                            written += writesInPlace(op, dtype) ? 1 : 0;
                        } catch (AssertionError | RuntimeException e) {
                            wrong.add(op.op().name() + "_: " + e);
                        }
                    }
                    Assertions.assertTrue(wrong.isEmpty(), () -> dtype + ":\n" + String.join("\n", wrong));
                    Assertions.assertTrue(written > inPlace().size() / 4, "only " + written + " wrote anything");
                }));
    }

    /** False if the op is not for this dtype, or makes what does not fit into it: that is refused alike. */
    private boolean writesInPlace(PointwiseOp op, DType dtype) {
        Maker m = new Maker(dtype, device(), seed(op.op().name()), false);
        double low = dtype.isFloating() ? 0.2 : 1;
        double high = dtype.isFloating() ? 0.9 : 6;
        List<Tensor> operands = new ArrayList<>();
        operands.add(m.uniform(low, high, 3, 5));
        operands.add(m.uniform(low, high, 5));
        operands.add(m.uniform(low, high, 3, 1));
        operands = operands.subList(0, PointwiseCode.of(op.op()).inputs());
        List<Number> numbers = dtype.isFloating() ? List.of(0.5, 0.75, 0.25) : List.of(2, 3, 4);
        List<Number> scalars = numbers.subList(
                0,
                Variable.uses(PointwiseCode.of(op.op()).roots().get(0), Variable.Role.SCALAR)
                        .length());
        Tensor x = operands.get(0);
        int version = x.version();
        Tensor result;
        try {
            result = op.call(operands, scalars);
        } catch (DTypeException e) {
            List<Tensor> same = operands;
            Assertions.assertThrows(DTypeException.class, () -> op.into(x, same, scalars));
            return false;
        }
        if (result.dtype().kind().compareTo(dtype.kind()) > 0) {
            List<Tensor> same = operands;
            Assertions.assertThrows(DTypeException.class, () -> op.into(x, same, scalars));
            Assertions.assertEquals(version, x.version());
            return false;
        }
        double[] expected = result.to(dtype).toDoubleArray();
        Tensor strided =
                Tensor.zeros(Shape.of(5, 3), dtype, device()).transpose(0, 1).copy_(x);
        List<Tensor> others = new ArrayList<>(operands);
        others.set(0, strided);
        Assertions.assertSame(strided, op.into(strided, others, scalars));
        Assertions.assertArrayEquals(expected, strided.toDoubleArray(), "strided");
        Assertions.assertSame(x, op.into(x, operands, scalars));
        Assertions.assertArrayEquals(expected, x.toDoubleArray());
        Assertions.assertEquals(version + 1, x.version());
        return true;
    }

    @TestFactory
    @Tag(ROW_BY_ROW)
    Stream<DynamicTest> mistakesAreRefused() {
        return rows().flatMap(this::mistakes);
    }

    private <A extends Record, R> Stream<DynamicTest> mistakes(OpSamples<A, R> row) {
        return row.mistakes().stream().map(mistake -> {
            String name = row + " " + device() + " refuses: " + mistake.text();
            return dynamicTest(name, () -> {
                try (Scope scope = Scope.open()) {
                    List<Unchanged> given = new ArrayList<>();
                    Exception e = Assertions.assertThrows(mistake.type(), () -> {
                        A args = mistake.make().apply(new Maker(row.dtypes().get(0), device(), seed(name), false));
                        given.addAll(written(row, args));
                        row.op().call(args);
                        // What stands in the data a device may find when it comes to it.
                        Backends.of(device().type()).synchronize(device().index());
                    });
                    Assertions.assertTrue(
                            String.valueOf(e.getMessage()).contains(mistake.text()),
                            () -> "expected '" + mistake.text() + "' in: " + e.getMessage());
                    given.forEach(t -> t.require(name));
                }
            });
        });
    }

    /** What an op would have written, had it not refused. */
    private record Unchanged(Tensor tensor, int version, byte[] bytes) {
        void require(String name) {
            Assertions.assertEquals(version, tensor.version(), name + ": the version of " + tensor.describe());
            Assertions.assertArrayEquals(bytes, Elements.bytes(tensor), name + ": " + tensor.describe());
        }
    }

    /** Empty for ops that write nothing, and where indices are looked at by the kernels that write. */
    private <A extends Record, R> List<Unchanged> written(OpSamples<A, R> row, A args) {
        if (!row.op().definition().isMutating()
                || !BackendChoice.allocator(device()).isJavaVisible()) {
            return List.of();
        }
        return Stream.of(row.op().schema().tensors(row.op().name(), args))
                .filter(t -> t != null && !t.isMeta() && !t.isClosed())
                .map(t -> new Unchanged(t, t.version(), Elements.bytes(t)))
                .toList();
    }

    @Test
    void everyKernelIsRegisteredForAnOpThatTakesItsRecord() {
        List<String> faults = KernelTables.faults(Backends.of(device().type()).kernelTable());
        Assertions.assertTrue(faults.isEmpty(), () -> device() + ": " + String.join("\n", faults));
    }

    @Test
    void misusesAreRefusedAsInPlainJava() {
        List<String> differences = Misuses.differences(device());
        Assertions.assertTrue(
                differences.isEmpty(),
                () -> differences.size() + " of " + Misuses.count() + " misuses:\n  "
                        + String.join("\n  ", differences));
    }

    // ---------------------------------------------------------------- wrong forms

    /** With any one tensor of another shape or dtype an op works, or one of our exceptions says why not: no crash. */
    @TestFactory
    Stream<DynamicTest> wrongFormsAreRefused() {
        if (!BackendChoice.allocator(device()).isJavaVisible()) {
            return Stream.of(); // the rules of shapes, which find these, are the same for all devices
        }
        return rows().map(row -> dynamicTest(row + " " + device(), () -> {
            for (OpSamples.Sample<?> sample : row.samples()) {
                for (WrongForm form : WrongForm.values()) {
                    refuses(row, sample.name(), form);
                }
            }
        }));
    }

    private <A extends Record, R> void refuses(OpSamples<A, R> row, String sampleName, WrongForm form) {
        OpSamples.Sample<A> sample = row.samples().stream()
                .filter(s -> s.name().equals(sampleName))
                .findFirst()
                .orElseThrow();
        DType dtype = row.dtypes().contains(DType.FLOAT32)
                ? DType.FLOAT32
                : row.dtypes().get(0);
        int slots = 1;
        for (int slot = 0; slot < slots; slot++) {
            try (Scope scope = Scope.open()) {
                A args = sample.make().apply(new Maker(dtype, device(), seed(sampleName), false));
                Tensor[] tensors = row.op().schema().tensors(row.op().name(), args);
                slots = tensors.length;
                if (slot >= slots || tensors[slot] == null) {
                    continue;
                }
                Tensor wrong = form.of(tensors[slot].detach().copy());
                if (wrong == null) {
                    continue;
                }
                tensors[slot] = wrong;
                int at = slot;
                List<Unchanged> given = List.of();
                try {
                    A changed = row.op().schema().rebuild(args, tensors);
                    given = written(row, changed);
                    row.op().call(changed);
                } catch (RuntimeException e) {
                    given.forEach(t -> t.require(row + " " + sampleName + ", tensor " + at));
                    Assertions.assertTrue(
                            e.getClass().getPackageName().startsWith("dev.merapi."),
                            () -> row + " " + sampleName + ", tensor " + at + " as " + wrong.describe() + ": " + e);
                }
            }
        }
    }

    // ---------------------------------------------------------------- sizes at the edge

    /** The share of the rows that {@link #edgeSizesWorkOrAreRefused} takes, drawn by the day. */
    protected double edgeShare() {
        return 1;
    }

    /**
     * Every op with each dimension of each tensor as 0 and 1, without dimensions, with its integers at the edge of 64 bits,
     * and on shapes that no memory holds; forward and backward, twice. See {@link EdgeCalls}.
     */
    @Test
    void edgeSizesWorkOrAreRefused() {
        String only = System.getProperty("merapi.edges.only", "");
        long seed = Long.getLong("merapi.edges.seed", LocalDate.now().toEpochDay());
        SplittableRandom random = new SplittableRandom(seed);
        List<String> failures = new ArrayList<>();
        int calls = 0;
        for (OpSamples<?, ?> row : only.isEmpty() ? rows().toList() : OpRows.all()) {
            if (only.isEmpty()
                    ? random.nextDouble() < edgeShare()
                    : row.toString().matches(only)) {
                EdgeCalls<?, ?> edges = new EdgeCalls<>(row, device());
                edges.run(seed + row.toString().hashCode());
                calls += edges.calls();
                failures.addAll(edges.failures());
            }
        }
        int all = calls;
        Assertions.assertTrue(
                failures.isEmpty(),
                () -> failures.size() + " of " + all + " calls on " + device() + " (-Dmerapi.edges.seed=" + seed
                        + ", with -Dmerapi.edges.only=<a pattern of op names> for some):\n  "
                        + String.join("\n  ", failures));
    }

    // ---------------------------------------------------------------- limits and races

    /** 17 dimensions, 30 operands, 80 values that live at once, 3,000 levels: no backend's limits are the user's. */
    @Test
    void whatIsBeyondABackendsLimitsWorks() {
        try (Scope scope = Scope.open()) {
            Limits.check(device());
            Limits.ranks(device(), EdgeCalls.plainJava());
        }
    }

    @Test
    void indicesThatAnotherThreadWritesReachNothingElse() {
        Assumptions.assumeTrue(
                BackendChoice.allocator(device()).isJavaVisible(),
                "the other thread writes where Java sees the memory");
        List<String> failures = IndexRaces.run(device(), 25);
        Assertions.assertTrue(failures.isEmpty(), () -> device() + ":\n  " + String.join("\n  ", failures));
    }
}
