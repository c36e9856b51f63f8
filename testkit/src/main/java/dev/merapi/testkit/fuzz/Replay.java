// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Dispatcher;
import dev.merapi.op.Definition;
import dev.merapi.op.Schema;
import dev.merapi.op.tree.RecordType;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/** Calls of ops once more on plain Java: with the same inputs, and in float64. */
final class Replay {
    private static final int TRIALS = 8;

    private final Device java;
    private final Exactness exactness = new Exactness();
    private final Context context = Context.current();
    /** Formulas of the second order are derived by machine: what cancels in them is not written another way. */
    private static final double SECOND_ORDER = 32;

    private final Set<String> roundsEachTerm;

    Replay(Device java, Set<String> roundsEachTerm) {
        this.java = java;
        this.roundsEachTerm = roundsEachTerm;
    }

    boolean isExact(Definition<?, ?> op, @Nullable Tensor[] inputs, List<Tensor> made) {
        return exactness.isExact(op, inputs, made);
    }

    // ---------------------------------------------------------------- what goes in and comes out

    /** The tensors that a call made, and those that it wrote. */
    static <A extends Record, R> List<Tensor> results(
            Definition<A, R> op, A args, @Nullable Tensor[] inputs, @Nullable R result) {
        List<Tensor> all = new ArrayList<>();
        Set<Tensor> known = Collections.newSetFromMap(new IdentityHashMap<>());
        if (op.isMutating()) {
            boolean[] mutated = op.mutatedSlots(args);
            for (int i = 0; i < inputs.length; i++) {
                Tensor t = inputs[i];
                if (t != null && mutated[i] && known.add(t)) {
                    all.add(t);
                }
            }
        }
        if (!op.name().equals("merapi::empty")) {
            for (Tensor t : op.result().tensors(op.name(), result)) {
                if (t != null && !t.isClosed() && known.add(t)) {
                    all.add(t);
                }
            }
        }
        return all;
    }

    /** Row-major copies on plain Java; what is one tensor stays one. */
    @Nullable
    Tensor[] copies(@Nullable Tensor[] inputs) {
        @Nullable Tensor[] copies = new Tensor[inputs.length];
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            for (int k = 0; k < i && copies[i] == null; k++) {
                copies[i] = inputs[k] == t ? copies[k] : null;
            }
            if (t != null && copies[i] == null) {
                copies[i] = filled(TENSORS.allocate(t.shape(), t.dtype(), java), t, null, 0);
            }
        }
        return copies;
    }

    void close(@Nullable Tensor[] copies) {
        for (Tensor t : copies) {
            if (t != null) {
                t.close();
            }
        }
    }

    /** The elements of a tensor, each moved by at most {@code eps} of its size; without noise, 0 for what is less than it. */
    private static Tensor filled(Tensor target, Tensor from, @Nullable SplittableRandom noise, double eps) {
        if (from.numel() == 0) {
            return target;
        }
        Elements e = Elements.of(target);
        if (target.dtype().isFloating()) {
            double[] values = values(from);
            for (int i = 0; i < values.length; i++) {
                double v = values[i];
                e.setDouble(i, noise != null ? v * (1 + eps * noise.nextDouble(-1, 1)) : Math.abs(v) < eps ? 0 : v);
            }
        } else {
            long[] values = Bits.longs(from);
            for (int i = 0; i < values.length; i++) {
                e.setLong(i, values[i]);
            }
        }
        return target;
    }

    /** Contents of all that a call gives; null if it is refused. */
    private <A extends Record, R> @Nullable List<double[]> call(Definition<A, R> op, A args) {
        int level = context.descendBelowAutograd();
        var generator = context.generator().position();
        try (Scope scope = Scope.open()) {
            R result = Dispatcher.call(op, args, context);
            List<double[]> all = new ArrayList<>();
            for (Tensor t : results(op, args, op.schema().tensors(op.name(), args), result)) {
                all.add(values(t));
            }
            return all;
        } catch (RuntimeException e) {
            return null;
        } finally {
            context.generator().moveTo(generator);
            context.restoreLevel(level);
        }
    }

    private static double[] values(Tensor t) {
        return t.dtype() == DType.INT64
                ? Arrays.stream(Bits.longs(t)).mapToDouble(v -> v).toArray()
                : Bits.doubles(t);
    }

    // ---------------------------------------------------------------- the same

    /** What differs from plain Java where nothing may; null if nothing does. */
    <A extends Record, R> @Nullable String differsInBits(
            Definition<A, R> op, A args, @Nullable Tensor[] copies, List<Tensor> made) {
        boolean exact = exactness.isExact(op, copies, made) && !tooWide(copies);
        boolean floating = made.stream().anyMatch(t -> t.dtype().isFloating());
        boolean ofFloats =
                Arrays.stream(copies).anyMatch(t -> t != null && t.dtype().isFloating());
        if (!exact && (floating || ofFloats)) {
            return null;
        }
        List<double[]> expected = call(op, onJava(op, args, again(copies)));
        if (expected == null) {
            return null;
        }
        for (int k = 0; k < expected.size(); k++) {
            double[] got = values(made.get(k));
            double[] want = expected.get(k);
            for (int i = 0; i < want.length; i++) {
                // Zeros are equal whatever their signs.
                if (got[i] != want[i] && Double.doubleToLongBits(got[i]) != Double.doubleToLongBits(want[i])) {
                    return "output " + k + " " + made.get(k).describe() + ", element " + i + " is " + got[i]
                            + ", on plain Java " + want[i] + describe(copies);
                }
            }
        }
        return null;
    }

    private @Nullable Tensor[] again(@Nullable Tensor[] copies) {
        return copies(copies);
    }

    /** The arguments around other tensors, on plain Java. */
    private <A extends Record, R> A onJava(Definition<A, R> op, A args, @Nullable Tensor[] tensors) {
        return plain(op.schema(), op.schema().rebuild(args, tensors), false, null, 0);
    }

    // ---------------------------------------------------------------- in float64

    /** What is farther from the float64 result than the arithmetic explains; null if nothing is. */
    <A extends Record, R> @Nullable String inaccurate(
            Definition<A, R> op, A args, @Nullable Tensor[] copies, List<Tensor> made) {
        if (tooWide(copies)) {
            return null;
        }
        double inputEps = 0;
        for (Tensor t : copies) {
            inputEps = t == null ? inputEps : Math.max(inputEps, computeEps(op, t.dtype()));
        }
        boolean single = inputEps > DType.FLOAT64.epsilon();
        List<double[]> exact = call(op, inFloat64(op, args, copies, single, false, null, 0));
        if (exact == null || exact.size() != made.size()) {
            return null;
        }
        List<List<double[]>> moved = new ArrayList<>();
        List<double[]> withoutTiny = null;
        List<double[]> withoutZeros = null;
        boolean overflows = false;
        double largestInput = 0;
        boolean floating =
                Arrays.stream(copies).anyMatch(t -> t != null && t.dtype().isFloating());
        for (Tensor t : copies) {
            largestInput = t == null ? largestInput : Math.max(largestInput, largest(values(t)));
        }
        for (int k = 0; k < exact.size(); k++) {
            Tensor t = made.get(k);
            double[] got = values(t);
            double[] want = exact.get(k);
            if (got.length != want.length) {
                return "output " + k + " has " + got.length + " elements, in float64 " + want.length;
            }
            // What stands between the parts of an op may be narrower than its result.
            double eps = !t.dtype().isFloating() || roundsBetween(op)
                    ? Math.max(inputEps, computeEps(op, t.dtype()))
                    : computeEps(op, t.dtype());
            // What is added up on the way may be as large as what goes in or comes out.
            double common = 4 * eps * Math.max(largest(want), largestInput) * terms(op, copies, want.length);
            if (op.name().endsWith("_backward_backward")) {
                common *= SECOND_ORDER;
            }
            for (int i = 0; i < want.length; i++) {
                // Integers are not moved below: what rounding on the way does to a function of large ones is allowed
                // here.
                if (within(
                        got[i], want[i], t.dtype(), ulps(eps) * (floating ? 1 : Math.max(1, largestInput)), common)) {
                    continue;
                }
                if (moved.isEmpty()) {
                    if (beyond(copies, 1e9, 1e-9)) {
                        return null;
                    }
                    overflows = beyond(copies, 80, 0);
                    withoutTiny = call(op, inFloat64(op, args, copies, single, false, null, Math.max(eps, inputEps)));
                    withoutZeros = call(op, inFloat64(op, args, withoutZeros(copies), single, false, null, 0));
                    SplittableRandom noise = new SplittableRandom(7);
                    boolean tied = floating && Jumps.comparesWhatIsRounded(op.code());
                    for (int trial = 0; trial < TRIALS; trial++) {
                        List<double[]> r =
                                call(op, inFloat64(op, args, copies, single, tied, noise, Math.max(eps, inputEps)));
                        if (r != null) {
                            moved.add(r);
                        }
                    }
                }
                if (Double.isNaN(want[i])
                        && withoutTiny != null
                        && !Double.isNaN(withoutTiny.get(k)[i])) {
                    continue; // 1 + x is 1 for a tiny x, and so a whole number: a power of what is negative sees that
                }
                if ((Double.isNaN(got[i]) || Double.isNaN(want[i]))
                        && withoutZeros != null
                        && !(Math.abs(withoutZeros.get(k)[i]) < largest(t.dtype()))) {
                    continue; // 0 · ∞: a factor that is too large for the dtype, hidden by another that is 0
                }
                if (Math.abs(got[i] - want[i]) == 1 && Jumps.truncatesQuotient(op.code())) {
                    continue;
                }
                if (!explained(got[i], want[i], t.dtype(), eps, common, overflows, moved, k, i)) {
                    return "output " + k + " " + t.describe() + ", element " + i + " is " + got[i] + ", in float64 "
                            + want[i] + describe(copies);
                }
            }
        }
        return null;
    }

    /** With 1 for each 0. */
    private @Nullable Tensor[] withoutZeros(@Nullable Tensor[] inputs) {
        @Nullable Tensor[] out = new Tensor[inputs.length];
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (t == null || t.numel() == 0) {
                out[i] = t;
                continue;
            }
            Tensor copy = filled(TENSORS.allocate(t.shape(), t.dtype(), java), t, null, 0);
            Elements e = Elements.of(copy);
            for (int k = 0; k < copy.numel(); k++) {
                if (t.dtype().isFloating()) {
                    e.setDouble(k, e.getDouble(k) == 0 ? 1 : e.getDouble(k));
                } else {
                    e.setLong(k, e.getLong(k) == 0 ? 1 : e.getLong(k));
                }
            }
            out[i] = copy;
        }
        return out;
    }

    /** Whether what rounding the inputs does to the result explains how far it is off. */
    private static boolean explained(
            double got,
            double want,
            DType dtype,
            double eps,
            double common,
            boolean overflows,
            List<List<double[]>> moved,
            int k,
            int i) {
        if (!Double.isFinite(got) && overflows) {
            return true;
        }
        double spread = 0;
        for (List<double[]> r : moved) {
            double v = r.get(k)[i];
            if (Double.isNaN(v) != Double.isNaN(want) || Double.isInfinite(v) != Double.isInfinite(want)) {
                return true;
            }
            if (!dtype.isFloating() && v != want) {
                return true;
            }
            spread = Math.max(spread, Math.abs(v - want));
        }
        return dtype.isFloating() && within(got, want, dtype, 2 * ulps(eps), 32 * spread + common);
    }

    /** Within float64 two ways to compute are compared, and not one with what is nearly exact. */
    private static double ulps(double eps) {
        return eps == DType.FLOAT64.epsilon() ? 64 * eps : 4 * eps;
    }

    private static boolean within(double got, double want, DType dtype, double relative, double absolute) {
        if (got == want || Double.isNaN(got) && Double.isNaN(want)) {
            return true;
        }
        if (!dtype.isFloating()) {
            return false;
        }
        double nearest = Bits.rounded(want, dtype);
        if (got == nearest) {
            return true;
        }
        double rounding = dtype == dtype.computeType() ? 0 : 0.51 * dtype.epsilon();
        double bound = (relative + rounding) * Math.abs(want) + absolute + smallest(dtype);
        if (!Double.isFinite(got)) {
            double largest = largest(dtype);
            // NaN is what two of them make that overflow.
            return Math.abs(want) + bound >= largest && (Double.isNaN(got) || want > 0 == got > 0);
        }
        return Math.abs(got - want) <= bound || Double.isInfinite(nearest) && Math.abs(got) >= 0.9 * largest(dtype);
    }

    /** How much more it may be than one of them: sums have many, and structured ops products of two. */
    private static double terms(Definition<?, ?> op, @Nullable Tensor[] copies, int results) {
        double most = 1;
        for (Tensor t : copies) {
            if (t != null) {
                double one = op.code() == null ? largest(values(t)) : (double) t.numel() / Math.max(1, results);
                most = Math.max(most, Math.min(one, 1000));
            }
        }
        return most;
    }

    /** The largest finite number. */
    private static double largest(double[] values) {
        return Arrays.stream(values)
                .map(Math::abs)
                .filter(Double::isFinite)
                .max()
                .orElse(0);
    }

    private static double smallest(DType dtype) {
        return switch (dtype) {
            // A factor on the way may have few bits left.
            case FLOAT64 -> 0x1p-1000;
            case FLOAT16 -> 0x1p-24;
            default -> 0x1p-115;
        };
    }

    private static double largest(DType dtype) {
        return switch (dtype) {
            case FLOAT32 -> Float.MAX_VALUE;
            case FLOAT64 -> Double.MAX_VALUE;
            case FLOAT16 -> 65504;
            default -> 0x1.fep127;
        };
    }

    /** What one rounding within the op costs. */
    private double computeEps(Definition<?, ?> op, DType dtype) {
        return roundsBetween(op) ? dtype.epsilon() : dtype.computeType().epsilon();
    }

    private boolean roundsBetween(Definition<?, ?> op) {
        return op.isComposite() || op.compose() != null || roundsEachTerm.contains(op.name());
    }

    /** Integers that float32 does not have are rounded on the way in. */
    private static boolean tooWide(@Nullable Tensor[] copies) {
        for (Tensor t : copies) {
            if (t != null && t.dtype().isIntegral() && t.dtype() != DType.UINT8) {
                for (long v : Bits.longs(t)) {
                    if (Math.abs(v) > 1 << 24 || v == Long.MIN_VALUE) {
                        return true;
                    }
                }
            }
        }
        return false;
    }

    /** Numbers whose products, quotients or exponentials may leave the range of the arithmetic on the way. */
    private static boolean beyond(@Nullable Tensor[] copies, double largest, double smallest) {
        for (Tensor t : copies) {
            if (t != null) {
                for (double v : values(t)) {
                    double a = Math.abs(v);
                    if (!(a < largest) || a != 0 && a < smallest) {
                        return true;
                    }
                }
            }
        }
        return false;
    }

    /** Whether a 0-d float64 is rounded to float32 first, since it does not widen the others: a comparison sees that. */
    private static boolean demotesScalars(Definition<?, ?> op, @Nullable Tensor[] inputs) {
        if (!(op.code() instanceof PointwiseCode)) {
            return false;
        }
        boolean any = false;
        for (Tensor t : inputs) {
            if (t != null && t.rank() > 0 && t.dtype().isFloating()) {
                if (t.dtype() == DType.FLOAT64) {
                    return false;
                }
                any = true;
            }
        }
        return any;
    }

    private <A extends Record, R> A inFloat64(
            Definition<A, R> op,
            A args,
            @Nullable Tensor[] copies,
            boolean single,
            boolean integersToo,
            @Nullable SplittableRandom noise,
            double eps) {
        @Nullable Tensor[] wide = new Tensor[copies.length];
        boolean demotes = demotesScalars(op, copies);
        for (int i = 0; i < copies.length; i++) {
            Tensor t = copies[i];
            for (int k = 0; k < i && wide[i] == null; k++) {
                wide[i] = copies[k] == t ? wide[k] : null;
            }
            if (t != null && wide[i] == null) {
                boolean widen =
                        t.dtype().isFloating() || integersToo && t.dtype().isIntegral();
                DType dtype = widen ? DType.FLOAT64 : t.dtype();
                Tensor from = demotes && t.rank() == 0 && t.dtype() == DType.FLOAT64 ? t.to(DType.FLOAT32) : t;
                wide[i] = filled(TENSORS.allocate(t.shape(), dtype, java), from, noise, eps);
                if (from != t) {
                    from.close();
                }
            }
        }
        A rebuilt = op.schema().rebuild(args, wide);
        return plain(
                op.schema(),
                rebuilt,
                true,
                single ? DType.FLOAT32 : null,
                noise == null ? 0 : noise.nextDouble(-eps, eps));
    }

    /** Plain arguments for plain Java, or for float64: dtypes widened, scalars rounded as the op rounds them. */
    @SuppressWarnings("unchecked")
    private <A extends Record> A plain(Schema schema, A args, boolean wide, @Nullable DType rounding, double change) {
        RecordType record = RecordType.of(schema.type(), null);
        @Nullable Object[] values = null;
        for (int i = 0; i < record.size(); i++) {
            if (schema.arguments().get(i).kind() != Schema.Kind.PLAIN) {
                continue;
            }
            Object given = record.get(args, i);
            Object other = given instanceof Device ? java : wide ? widened(given, rounding, change) : given;
            if (other != given) {
                if (values == null) {
                    values = new Object[record.size()];
                    for (int k = 0; k < values.length; k++) {
                        values[k] = record.get(args, k);
                    }
                }
                values[i] = other;
            }
        }
        return values == null ? args : (A) record.make(values);
    }

    private static @Nullable Object widened(@Nullable Object given, @Nullable DType rounding, double change) {
        if (given instanceof DType d) {
            return d.isFloating() ? DType.FLOAT64 : d;
        }
        if (given instanceof Double d) {
            return (rounding == null ? d : (double) d.floatValue()) * (1 + change);
        }
        if (given instanceof Float f) {
            return f.doubleValue() * (1 + change);
        }
        if (given instanceof List<?> list && !list.isEmpty() && list.get(0) instanceof Number) {
            return list.stream().map(v -> widened(v, rounding, change)).toList();
        }
        return given;
    }

    private static String describe(@Nullable Tensor[] inputs) {
        StringBuilder text = new StringBuilder("; inputs");
        for (Tensor t : inputs) {
            text.append(' ').append(t == null ? "none" : t.dtype() + "" + t.shape());
        }
        return text.toString();
    }
}
