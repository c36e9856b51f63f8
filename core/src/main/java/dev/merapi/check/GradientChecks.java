// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.check.CheckedFunction.Form;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.error.DTypeException;
import dev.merapi.error.MissingKernelException;
import dev.merapi.error.SavedTensorException;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Backward;
import dev.merapi.op.DeviceCode;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * An op's backward: against finite differences, in float64 or else in float32; and against itself at other sizes, in other
 * dtypes and layouts, and when fewer gradients are wanted.
 */
final class GradientChecks<A extends Record, R> {
    /** With more elements than this, differences are taken on demand only. */
    private static final long MOST = 20_000;

    private final OpSample<A, R> sample;

    GradientChecks(OpSample<A, R> sample) {
        WriteChecks.requireGradient(sample);
        this.sample = sample;
    }

    // ---------------------------------------------------------------- the op as a function of tensors

    /** The sample in a dtype in which differences can be taken. */
    record Ready<A extends Record, R>(OpSample<A, R> sample, Precision precision) {}

    /** @throws NotChecked if the op takes neither float64 nor float32 */
    Ready<A, R> ready(OpSample<A, R> given) {
        RuntimeException refusal = null;
        for (Precision precision : Precision.values()) {
            // Of the inputs that want no gradient some may have to stay as they are.
            for (boolean all : new boolean[] {true, false}) {
                OpSample<A, R> other = given.of(given.with(
                        t -> all || t.requiresGrad() ? OpSample.converted(t, precision.dtype) : OpSample.copy(t)));
                try {
                    other.run(other.copies());
                    return new Ready<>(other, precision);
                } catch (DTypeException | MissingKernelException e) {
                    refusal = refusal == null ? e : refusal;
                }
            }
        }
        throw new NotChecked("the op takes neither float64 nor float32, in which differences can be taken: "
                + (refusal == null ? "" : ValueChecks.firstLine(refusal)));
    }

    /** The present tensors of a sample, and the op as a function of them. */
    private static <A extends Record, R> CheckedFunction function(
            OpSample<A, R> s, Function<Integer, Boolean> wanted, UnaryOperator<Tensor> form) {
        List<Tensor> present = new ArrayList<>();
        List<String> names = new ArrayList<>();
        for (int i = 0; i < s.inputs.length; i++) {
            Tensor t = s.inputs[i];
            if (t != null) {
                Tensor other = form.apply(OpSample.copy(t));
                present.add(t.requiresGrad() && wanted.apply(i) ? other.detach().requiresGrad(true) : other);
                names.add(s.name(i));
            }
        }
        return new CheckedFunction(in -> call(s, in), present, names);
    }

    static <A extends Record, R> CheckedFunction function(OpSample<A, R> s) {
        return function(s, i -> true, t -> t);
    }

    private static <A extends Record, R> List<Tensor> call(OpSample<A, R> s, List<Tensor> present) {
        @Nullable Tensor[] tensors = new Tensor[s.inputs.length];
        int next = 0;
        for (int i = 0; i < tensors.length; i++) {
            if (s.inputs[i] != null) {
                Tensor t = present.get(next++);
                tensors[i] = s.mutated[i] ? t.copy() : t; // a leaf may not be written
            }
        }
        A rebuilt = s.op.schema().rebuild(s.args, tensors);
        return Arrays.asList(s.outputs(rebuilt, s.op.call(rebuilt)));
    }

    /** Inputs that stand on a kink say nothing of the op. */
    private static void orThrow(GradCheck.Report report, String where) {
        if (!report.ok()) {
            if (report.failures().stream().allMatch(f -> f.startsWith(GradCheck.NO_DERIVATIVE))) {
                throw new NotChecked(where + report.failures().get(0));
            }
            throw new CheckFailedException(where + report);
        }
    }

    // ---------------------------------------------------------------- finite differences

    String gradients() {
        return gradients(sample);
    }

    private String gradients(OpSample<A, R> given) {
        Ready<A, R> ready = ready(given);
        orThrow(
                GradCheck.of(function(ready.sample), ready.precision)
                        .seed(sample.seed)
                        .deterministic(sample.definition.isDeterministic())
                        .run(),
                "");
        return of(ready) + quiet();
    }

    private static String of(Ready<?, ?> ready) {
        return ready.precision == Precision.FLOAT64
                ? ""
                : "in float32, as the op does not take float64: errors below a thousandth are not seen";
    }

    /** The floating inputs whose gradient the sample does not ask for. */
    private String quiet() {
        List<String> names = new ArrayList<>();
        for (int i = 0; i < sample.inputs.length; i++) {
            Tensor t = sample.inputs[i];
            if (t != null && t.dtype().isFloating() && !t.requiresGrad() && !sample.mutated[i]) {
                names.add(sample.name(i));
            }
        }
        return names.isEmpty() ? "" : " not of " + String.join(", ", names) + ", which the sample does not ask for";
    }

    String on(Device other) {
        try {
            return gradients(sample.of(sample.with(t -> {
                Tensor there = ValueChecks.byWayOfTheHost(OpSample.copy(t), other);
                return t.requiresGrad() ? there.requiresGrad(true) : there;
            })));
        } catch (MissingKernelException e) {
            throw new NotChecked(ValueChecks.firstLine(e));
        }
    }

    String secondDerivatives() {
        Ready<A, R> ready = ready(sample);
        if (ready.precision != Precision.FLOAT64) {
            throw new NotChecked("the op does not take float64, and float32 is too coarse");
        }
        List<Tensor> present = new ArrayList<>();
        for (Tensor t : ready.sample.inputs) {
            if (t != null) {
                present.add(OpSample.leaf(t));
            }
        }
        try {
            orThrow(
                    GradCheck.secondOfMany(in -> call(ready.sample, in), present)
                            .seed(sample.seed)
                            .run(),
                    "");
        } catch (SavedTensorException e) {
            if (e.getMessage() != null && e.getMessage().contains("second derivative")) {
                throw new NotChecked("refused: " + ValueChecks.firstLine(e));
            }
            throw e;
        }
        return "";
    }

    /** The sample at other sizes, as far as it has them. */
    List<OpSample<A, R>> resized() {
        List<OpSample<A, R>> others = new ArrayList<>();
        List<UnaryOperator<@Nullable Tensor>> forms = List.of(
                Layouts::grown, Layouts::odd, Layouts::shrunk, Layouts::single, Layouts::scalar, Layouts::empty);
        for (UnaryOperator<@Nullable Tensor> form : forms) {
            OpSample<A, R> other = SizeChecks.resized(sample, form);
            if (other != null && elements(other) <= MOST) {
                others.add(other);
            }
        }
        return others;
    }

    /** One signed probe of all entries at each size that the op takes, and without each optional input. */
    String otherSizes() {
        List<String> tried = new ArrayList<>();
        List<OpSample<A, R>> others = resized();
        for (int slot : ValueChecks.optional(sample)) {
            @Nullable Tensor[] tensors = sample.inputs.clone();
            tensors[slot] = null;
            others.add(sample.of(sample.op.schema().rebuild(sample.args, tensors)));
        }
        String refusal = "the sample's tensors have no other forms";
        for (OpSample<A, R> other : others) {
            String sizes = SizeChecks.sizes(other);
            if (tried.contains(sizes) || sizes.equals(SizeChecks.sizes(sample)) || nothingWanted(other)) {
                continue;
            }
            try {
                probe(other, sizes);
                tried.add(sizes);
            } catch (ShapeException | DTypeException e) {
                refusal = "refused: " + ValueChecks.firstLine(e);
            } catch (NotChecked e) {
                refusal = String.valueOf(e.getMessage());
            }
        }
        if (tried.isEmpty()) {
            throw new NotChecked(refusal);
        }
        return String.join("; ", tried);
    }

    private void probe(OpSample<A, R> other, String sizes) {
        // Repeated values would be ties.
        Ready<A, R> ready = ready(other);
        OpSample<A, R> apart = ready.sample.of(ready.sample.with(t -> jittered(t, sample.seed)));
        orThrow(
                GradCheck.of(function(apart), ready.precision)
                        .seed(sample.seed)
                        .deterministic(sample.definition.isDeterministic())
                        .probesOnly()
                        .run(),
                "with inputs " + sizes + ": ");
    }

    String largeSizes() {
        if (sample.definition.isNonDifferentiable() || nothingWanted(sample)) {
            return "";
        }
        List<String> tried = new ArrayList<>();
        for (UnaryOperator<@Nullable Tensor> form :
                List.<UnaryOperator<@Nullable Tensor>>of(Layouts::largeRow, Layouts::large)) {
            OpSample<A, R> other = SizeChecks.resized(sample, form);
            if (other == null) {
                continue;
            }
            try {
                probe(other, SizeChecks.sizes(other));
                tried.add(SizeChecks.sizes(other));
            } catch (ShapeException | DTypeException | NotChecked e) {
                continue; // another form, perhaps
            }
        }
        return tried.isEmpty() ? "" : "; gradients: " + String.join("; ", tried);
    }

    private static long elements(OpSample<?, ?> s) {
        return Arrays.stream(s.inputs).mapToLong(t -> t == null ? 0 : t.numel()).sum();
    }

    private static boolean nothingWanted(OpSample<?, ?> s) {
        return Arrays.stream(s.inputs).noneMatch(t -> t != null && t.requiresGrad());
    }

    private static Tensor jittered(Tensor t, long seed) {
        if (!t.dtype().isFloating() || t.numel() == 0) {
            return t;
        }
        SplittableRandom random = new SplittableRandom(seed);
        double[] v = t.toDoubleArray();
        for (int i = 0; i < v.length; i++) {
            v[i] *= random.nextDouble(0.97, 1.03);
        }
        Tensor other = CheckedFunction.tensor(v, t);
        return t.requiresGrad() ? other.requiresGrad(true) : other;
    }

    // ---------------------------------------------------------------- the backward beside itself

    /** Random weights of few digits, which every dtype holds. */
    private static double[] weights(int n, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        double[] v = new double[n];
        for (int i = 0; i < n; i++) {
            v[i] = random.nextInt(-16, 17) / 16.0;
        }
        return v;
    }

    private static void same(String what, CheckedFunction f, double[][] expected, double[][] found, double relative) {
        double largest = Comparison.largest(expected);
        for (int i = 0; i < expected.length; i++) {
            double scale = Math.max(Comparison.NOISE * largest, Comparison.largest(new double[][] {expected[i]}));
            for (int e = 0; e < Math.min(expected[i].length, found[i].length); e++) {
                double off = Math.abs(expected[i][e] - found[i][e]);
                if (!(off <= relative * scale) && Double.compare(expected[i][e], found[i][e]) != 0) {
                    throw new CheckFailedException(String.format(
                            Locale.ROOT,
                            "%s: gradient of %s is %.17g, expected %.17g",
                            what,
                            f.inputName(i, e),
                            found[i][e],
                            expected[i][e]));
                }
            }
        }
    }

    /** A gradient does not depend on which others are wanted. */
    String subsets() {
        List<Integer> wanted = new ArrayList<>();
        for (int i = 0; i < sample.inputs.length; i++) {
            Tensor t = sample.inputs[i];
            if (t != null && t.requiresGrad()) {
                wanted.add(i);
            }
        }
        if (wanted.size() < 2) {
            throw new NotChecked("the sample asks for one gradient only");
        }
        Ready<A, R> ready = ready(sample);
        CheckedFunction all = function(ready.sample);
        double[] v = weights(all.outputCount(), sample.seed);
        double[][] expected = all.vjp(v);
        for (List<Integer> subset : subsets(wanted)) {
            CheckedFunction some = function(ready.sample, subset::contains, t -> t);
            if (some.outputCount() != v.length) {
                continue;
            }
            double[][] found = some.vjp(v);
            String names =
                    String.join(" and ", subset.stream().map(sample::name).toList());
            same(
                    "when only " + names + (subset.size() == 1 ? " wants" : " want") + " a gradient",
                    some,
                    kept(expected, found),
                    found,
                    ready.precision.rounding);
        }
        return "";
    }

    /** The expected gradients of those that were asked for. */
    private static double[][] kept(double[][] expected, double[][] found) {
        double[][] some = expected.clone();
        for (int i = 0; i < some.length; i++) {
            some[i] = found[i].length == 0 ? found[i] : some[i];
        }
        return some;
    }

    /** All true subsets of few, else each alone and all but each. */
    private static List<List<Integer>> subsets(List<Integer> all) {
        List<List<Integer>> subsets = new ArrayList<>();
        if (all.size() <= 4) {
            for (int bits = 1; bits < (1 << all.size()) - 1; bits++) {
                List<Integer> some = new ArrayList<>();
                for (int i = 0; i < all.size(); i++) {
                    if ((bits >> i & 1) != 0) {
                        some.add(all.get(i));
                    }
                }
                subsets.add(some);
            }
            return subsets;
        }
        for (int i : all.subList(0, Math.min(8, all.size()))) {
            subsets.add(List.of(i));
            subsets.add(all.stream().filter(k -> k != i).toList());
        }
        return subsets;
    }

    /** What is saved lies as the inputs do. */
    String otherLayouts() {
        Ready<A, R> ready = ready(sample);
        List<String> tried = new ArrayList<>();
        List<UnaryOperator<@Nullable Tensor>> forms =
                List.of(Layouts::transposed, Layouts::offset, Layouts::strided, Layouts::expanded);
        List<String> names = List.of("transposed", "offset", "strided", "expanded");
        for (int k = 0; k < forms.size(); k++) {
            UnaryOperator<@Nullable Tensor> form = forms.get(k);
            UnaryOperator<Tensor> inForm = t -> {
                Tensor other = form.apply(t);
                return other == null ? t : other;
            };
            try {
                CheckedFunction dense =
                        function(ready.sample, i -> true, t -> inForm.apply(t).copy());
                CheckedFunction other = function(ready.sample, i -> true, inForm);
                double[] v = weights(dense.outputCount(), sample.seed);
                same("on " + names.get(k) + " inputs", other, dense.vjp(v), other.vjp(v), ready.precision.rounding);
                tried.add(names.get(k));
            } catch (ShapeException e) {
                continue; // a view may have to refuse them
            }
        }
        return String.join(", ", tried);
    }

    /** In narrower dtypes, within what rounding there does to the gradient in a wide one. */
    String otherDtypes() {
        Ready<A, R> ready = ready(sample);
        if (!DTypeChecks.requireOneType(sample)) {
            throw new NotChecked("the floating inputs have several dtypes");
        }
        List<String> tried = new ArrayList<>();
        List<String> refused = new ArrayList<>();
        for (DType dtype : DTypeChecks.WIDEST_FIRST) {
            if (dtype == DType.FLOAT64 || dtype == ready.precision.dtype) {
                continue;
            }
            OpSample<A, R> narrow = sample.of(sample.in(dtype));
            try {
                narrow.run(narrow.copies());
            } catch (DTypeException | MissingKernelException e) {
                refused.add(dtype.toString());
                continue;
            }
            rounded(narrow, dtype, ready.precision.dtype);
            tried.add(dtype.toString());
        }
        if (tried.isEmpty()) {
            throw new NotChecked("the op takes " + ready.precision.dtype + " only");
        }
        return String.join(", ", tried) + (refused.isEmpty() ? "" : "; not " + String.join(", ", refused));
    }

    private void rounded(OpSample<A, R> narrow, DType dtype, DType wide) {
        CheckedFunction f = function(narrow);
        OpSample<A, R> reference = narrow.of(narrow.in(wide));
        CheckedFunction g = function(reference);
        double[] v = weights(f.outputCount(), sample.seed);
        if (f.outputCount() != g.outputCount()) {
            throw new CheckFailedException(
                    "in " + dtype + ": " + f.outputCount() + " elements of output, in " + wide + " " + g.outputCount());
        }
        double[][] found = f.vjp(v);
        double[][] expected = g.vjp(v);
        List<double[][]> moved = new ArrayList<>();
        for (int k = 0; k < Rounding.TRIES; k++) {
            int which = k;
            SplittableRandom random = new SplittableRandom(sample.seed + k);
            double[] w = Arrays.stream(v)
                    .map(x -> x * (random.nextBoolean() ? 1 + dtype.epsilon() : 1 - dtype.epsilon()))
                    .toArray();
            moved.add(function(reference, i -> true, t -> Rounding.moved(t, dtype, which, sample.seed))
                    .vjp(w));
        }
        for (int i = 0; i < found.length; i++) {
            int at = i;
            Rounding.agree(
                    "in " + dtype + ": gradient of " + f.inputName(i),
                    expected[i],
                    moved.stream().map(m -> m[at]).toList(),
                    found[i],
                    dtype);
        }
    }

    /** Where a device has a backward kernel of its own, the shared formula serves for graphs of gradients only. */
    String kernelAndFormula() {
        Object own = sample.definition.backwardKernel(sample.device().type());
        boolean kernel = own instanceof Backward<?, ?>
                || own instanceof DeviceCode
                || BackendChoice.of(sample.device().type()).backwardKernel(sample.definition) != null;
        if (!kernel || sample.definition.backward() == null && sample.definition.compose() == null) {
            throw new NotChecked(kernel ? "there is no formula beside the kernel" : "there is no backward kernel");
        }
        Ready<A, R> ready = ready(sample);
        CheckedFunction f = function(ready.sample);
        double[] v = weights(f.outputCount(), sample.seed);
        same(
                "the backward kernel of " + sample.device().type() + ", beside the formula",
                f,
                f.vjpWithGraph(v),
                f.vjp(v, k -> true, Form.DENSE),
                ready.precision.rounding);
        return "";
    }
}
