// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.autograd.Autograd;
import dev.merapi.dispatch.Context;
import dev.merapi.op.Op;
import dev.merapi.op.Schema;
import dev.merapi.op.tree.RecordType;
import dev.merapi.tensor.Tensor;
import dev.merapi.testkit.Maker;
import dev.merapi.testkit.OpSamples;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.function.Function;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * Makes a program from a seed, a step at a time, each with arguments that fit what the steps before it made: of shapes,
 * dtypes and modes it knows, since each step runs on plain Java as soon as it is made. Contents do not matter to it.
 */
final class Composer {
    private static final DType[] FLOATS = {DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16, DType.FLOAT16};
    private static final int LARGEST = 2000;
    /** A root of a small power has few digits left. */
    private static final double[] POWERS = {0.5, 1, 1.5, 2, 3};

    private final SplittableRandom random;
    private final Catalogue catalogue;
    private final Run run;
    private final Function<Step, @Nullable List<Tensor>> execute;
    private final Arguments arguments;
    private final boolean smooth;
    private final List<Ref> made = new ArrayList<>();
    private final List<Ref> leaves = new ArrayList<>();
    private int tensors;

    Composer(long seed, Catalogue catalogue, Run run, Function<Step, @Nullable List<Tensor>> execute) {
        this.random = new SplittableRandom(seed);
        this.catalogue = catalogue;
        this.run = run;
        this.execute = execute;
        this.smooth = Slopes.apply(seed);
        this.arguments = new Arguments(this, random);
    }

    boolean smooth() {
        return smooth;
    }

    void compose() {
        int first = 1 + random.nextInt(2);
        for (int i = 0; i < first; i++) {
            leaf(dtype(), shape(), i == 0 || random.nextInt(3) > 0);
        }
        int steps = 2 + random.nextInt(smooth ? 5 : 9);
        for (int i = 0; i < steps; i++) {
            int kind = random.nextInt(100);
            if (kind < 42) {
                method();
            } else if (kind < 67) {
                if (catalogue.isClosed()) {
                    method();
                } else if (kind < 60) {
                    pointwise();
                } else {
                    reduction();
                }
            } else if (kind < 75) {
                sample();
            } else if (kind < 81 && !catalogue.isClosed()) {
                inPlace();
            } else if (kind < 84) {
                leaf(dtype(), shape(), random.nextInt(3) == 0);
            } else if (!smooth) {
                action();
            }
            if (smooth && i > 0 && i < steps - 1 && random.nextInt(6) == 0) {
                gradients(Autograd.Graph.CREATE);
            }
        }
        gradients();
    }

    // ---------------------------------------------------------------- running

    @Nullable
    List<Tensor> emit(Callee callee, @Nullable Object... args) {
        List<Tensor> result = execute.apply(new Step(callee, Arrays.asList(args), tensors, 0));
        if (result != null) {
            for (int i = 0; i < result.size(); i++) {
                made.add(new Ref(tensors++));
            }
        }
        return result;
    }

    private Ref last() {
        return made.get(made.size() - 1);
    }

    Tensor tensor(Ref r) {
        return run.tensor(r);
    }

    // ---------------------------------------------------------------- tensors

    DType dtype() {
        if (catalogue.isClosed()) {
            return DType.FLOAT32;
        }
        int kind = random.nextInt(100);
        if (smooth || kind < 70) {
            return kind < 50 ? DType.FLOAT32 : FLOATS[random.nextInt(FLOATS.length)];
        }
        return List.of(DType.values()).get(random.nextInt(DType.COUNT));
    }

    long[] shape() {
        int rank = random.nextInt(20) == 0 ? 5 : random.nextInt(10) < 8 ? 1 + random.nextInt(3) : random.nextInt(5);
        long[] sizes = new long[rank];
        for (int d = 0; d < rank; d++) {
            sizes[d] = size();
        }
        return sizes;
    }

    private long size() {
        int kind = random.nextInt(40);
        return kind < 3 ? 1 : kind < 5 && !smooth ? 0 : kind < 38 ? 2 + random.nextInt(4) : 7 + random.nextInt(20);
    }

    /** A new leaf with contents of its dtype. */
    Ref leaf(DType dtype, long[] shape, boolean wantsGrad) {
        int form = random.nextInt(12);
        Leaf.Form wanted = form < 5 ? List.of(Leaf.Form.values()).get(form) : Leaf.Form.DENSE;
        Leaf.Form possible = Leaf.possible(wanted, shape);
        int count = Leaf.count(possible, shape);
        Object values = smooth ? Values.tame(random, dtype, count) : Values.any(random, dtype, count);
        return leaf(new Leaf(dtype, shape, possible, values, wantsGrad && dtype.isFloating()));
    }

    Ref leaf(Leaf leaf) {
        emit(leaf);
        leaves.add(last());
        return last();
    }

    /** Indices into a dimension of that size. */
    Ref indices(long size, long... shape) {
        DType dtype = random.nextInt(4) == 0 && !catalogue.isClosed() ? DType.INT32 : DType.INT64;
        Leaf.Form form = random.nextInt(4) == 0 ? Leaf.possible(Leaf.Form.STRIDED, shape) : Leaf.Form.DENSE;
        return leaf(new Leaf(dtype, shape, form, Values.indices(random, size, Leaf.count(form, shape)), false));
    }

    /** One of the tensors that are open and satisfy a condition; the last ones more often. */
    @Nullable
    Ref pick(Predicate<Tensor> condition) {
        int n = made.size();
        for (int tries = 0; tries < 6 && n > 0; tries++) {
            Ref r = made.get(random.nextBoolean() ? n - 1 - random.nextInt(Math.min(3, n)) : random.nextInt(n));
            Tensor t = tensor(r);
            if ((!t.isClosed() || random.nextInt(40) == 0) && t.numel() <= LARGEST && condition.test(t)) {
                return r;
            }
        }
        return null;
    }

    Ref any() {
        Ref r = pick(t -> true);
        return r == null ? leaf(dtype(), shape(), true) : r;
    }

    /** An operand that broadcasts with {@code shape}: one that is there, or a new one. */
    Ref operand(long[] shape, DType dtype) {
        Ref there = random.nextInt(3) == 0
                ? null
                : pick(t -> t.dtype() == dtype && fits(t.shape().toArray(), shape));
        if (there != null) {
            return there;
        }
        int drop = shape.length == 0 || random.nextInt(3) > 0 ? 0 : random.nextInt(shape.length + 1);
        long[] sizes = Arrays.copyOfRange(shape, drop, shape.length);
        for (int d = 0; d < sizes.length; d++) {
            if (random.nextInt(6) == 0) {
                sizes[d] = 1;
            }
        }
        return leaf(dtype, sizes, random.nextInt(3) == 0);
    }

    private static boolean fits(long[] a, long[] b) {
        long n = 1;
        for (int i = 1; i <= Math.max(a.length, b.length); i++) {
            long p = i <= a.length ? a[a.length - i] : 1;
            long q = i <= b.length ? b[b.length - i] : 1;
            if (p != q && p != 1 && q != 1) {
                return false;
            }
            n *= p == 1 ? q : p;
        }
        return n <= LARGEST;
    }

    /** The dtype of a second operand. */
    DType partner(DType dtype) {
        int kind = random.nextInt(12);
        return smooth || catalogue.isClosed() || kind < 9 ? dtype : kind < 11 ? FLOATS[random.nextInt(4)] : dtype();
    }

    // ---------------------------------------------------------------- ops

    private void method() {
        MethodCallee m =
                catalogue.methods().get(random.nextInt(catalogue.methods().size()));
        arguments.call(m);
    }

    private void pointwise() {
        Catalogue.Pointwise p =
                catalogue.pointwise().get(random.nextInt(catalogue.pointwise().size()));
        List<Ref> operands = operands(p);
        if (operands == null) {
            return;
        }
        List<@Nullable Object> args = new ArrayList<>();
        if (RecordType.of(p.op().schema().type(), null).size() == 2 && p.inputs() != 1) {
            args.add(operands);
        } else {
            args.addAll(operands);
        }
        args.add(scalars(p.scalars(), tensor(operands.get(0)).dtype()));
        emit(new OpCallee<>(p.op()), args.toArray());
    }

    private @Nullable List<Ref> operands(Catalogue.Pointwise p) {
        boolean wrong = random.nextInt(60) == 0;
        Ref x = pick(t -> wrong || p.dtypes().contains(t.dtype()));
        if (x == null) {
            if (p.dtypes().isEmpty()) {
                return null; // it takes operands of several dtypes: its rows have samples
            }
            x = leaf(p.dtypes().get(random.nextInt(p.dtypes().size())), shape(), true);
        }
        List<Ref> operands = new ArrayList<>(List.of(x));
        Tensor first = tensor(x);
        while (operands.size() < p.inputs()) {
            DType partner = partner(first.dtype());
            DType dtype = p.dtypes().contains(partner) ? partner : first.dtype();
            operands.add(operand(first.shape().toArray(), dtype));
        }
        if (operands.size() > 1 && random.nextInt(4) == 0) {
            java.util.Collections.swap(operands, 0, 1);
        }
        return operands;
    }

    private List<Number> scalars(int count, DType dtype) {
        List<Number> numbers = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            numbers.add(Values.number(random, dtype, smooth));
        }
        return numbers;
    }

    private void inPlace() {
        Catalogue.Pointwise p =
                catalogue.pointwise().get(random.nextInt(catalogue.pointwise().size()));
        Ref target = pick(t -> p.dtypes().contains(t.dtype()) && mayWrite(t));
        if (p.inPlace() == null || target == null) {
            return;
        }
        Tensor t = tensor(target);
        List<Ref> operands = new ArrayList<>();
        // What others make is rounded to their dtype before it is stored there.
        boolean first = t.dtype().isFloating() || random.nextInt(8) > 0;
        while (operands.size() < p.inputs()) {
            operands.add(
                    operands.isEmpty() && first ? target : withinShape(t.shape().toArray(), partner(t.dtype())));
        }
        emit(new InPlaceCallee(p.inPlace()), target, operands, scalars(p.scalars(), t.dtype()));
    }

    /** Whether writing to a tensor is not refused at once. */
    boolean mayWrite(Tensor t) {
        boolean leaf = t.requiresGrad() && Autograd.gradFn(t) == null;
        return !t.isClosed()
                && t.layout().isInjective()
                && (!leaf || !Autograd.isGradEnabled() || random.nextInt(30) == 0);
    }

    /** An operand that broadcasts to a shape without growing it. */
    Ref withinShape(long[] shape, DType dtype) {
        Ref there = random.nextInt(3) == 0
                ? null
                : pick(t -> t.dtype() == dtype && t.shape().expandableTo(dev.merapi.types.Shape.of(shape)));
        return there != null ? there : leaf(dtype, shape, random.nextInt(4) == 0);
    }

    private void reduction() {
        Catalogue.Reduction r =
                catalogue.reductions().get(random.nextInt(catalogue.reductions().size()));
        Ref x = any();
        Tensor t = tensor(x);
        List<@Nullable Object> args = new ArrayList<>();
        List<Ref> operands = new ArrayList<>(List.of(x));
        while (operands.size() < r.inputs()) {
            operands.add(operand(t.shape().toArray(), partner(t.dtype())));
        }
        if (r.inputs() > 2) {
            args.add(operands);
        } else {
            args.addAll(operands);
        }
        args.add(arguments.dims(t.rank()));
        args.add(random.nextBoolean());
        args.add(random.nextInt(6) == 0 && !smooth ? FLOATS[random.nextInt(4)] : null);
        List<Number> powers = new ArrayList<>();
        while (powers.size() < r.scalars()) {
            powers.add(POWERS[random.nextInt(POWERS.length)]);
        }
        args.add(powers);
        emit(new OpCallee<>(r.op()), args.toArray());
    }

    // ---------------------------------------------------------------- samples of rows, varied

    private void sample() {
        OpSamples<?, ?> row =
                catalogue.rows().get(random.nextInt(catalogue.rows().size()));
        // What backward ops take belongs together: they come with the gradients.
        if (!row.op().name().endsWith("_backward")) {
            sample(row);
        }
    }

    private <A extends Record, R> void sample(OpSamples<A, R> row) {
        DType dtype = row.dtypes().contains(DType.FLOAT32) && (catalogue.isClosed() || random.nextInt(3) > 0)
                ? DType.FLOAT32
                : row.dtypes().get(random.nextInt(row.dtypes().size()));
        List<Function<Maker, A>> makers = row.makers();
        boolean differentiated = random.nextInt(4) > 0 && !Context.current().isInference();
        A args = makers.get(random.nextInt(makers.size()))
                .apply(new Maker(dtype, run.device(), random.nextLong(), differentiated));
        Op<A, R> op = row.op();
        long total = 0;
        for (Tensor t : op.schema().tensors(op.name(), args)) {
            total += t == null ? 0 : t.numel();
        }
        if (total <= 300) {
            emit(new OpCallee<>(op), varied(op.schema(), args));
        }
        for (Tensor t : op.schema().tensors(op.name(), args)) {
            if (t != null) {
                t.close();
            }
        }
    }

    /** The arguments of a sample with tensors in other layouts, of the program, or with other sizes everywhere. */
    private @Nullable Object[] varied(Schema schema, Record args) {
        Map<Long, Long> sizes = new HashMap<>();
        boolean otherSizes = random.nextInt(3) == 0;
        @Nullable
        Object[] values = new Object[RecordType.of(schema.type(), null).size()];
        for (int i = 0; i < values.length; i++) {
            Schema.Argument a = schema.arguments().get(i);
            Object given = RecordType.of(schema.type(), null).get(args, i);
            if (a.optional() && random.nextInt(8) == 0) {
                values[i] = null;
            } else if (given instanceof Tensor t) {
                values[i] = placed(t, otherSizes ? sizes : null);
            } else if (given instanceof List<?> list && a.kind() == Schema.Kind.TENSORS) {
                values[i] = list.stream()
                        .map(t -> t == null ? null : placed((Tensor) t, otherSizes ? sizes : null))
                        .toList();
            } else if (given instanceof dev.merapi.types.Device) {
                values[i] = Here.DEVICE;
            } else if (given instanceof long[] n
                    && otherSizes
                    && a.name().toLowerCase(java.util.Locale.ROOT).contains("size")) {
                values[i] = renamed(n, sizes);
            } else {
                values[i] = given;
            }
        }
        return values;
    }

    private Ref placed(Tensor t, @Nullable Map<Long, Long> sizes) {
        long[] shape = sizes == null ? t.shape().toArray() : renamed(t.shape().toArray(), sizes);
        if (random.nextInt(3) == 0) {
            Ref there = pick(p -> p.dtype() == t.dtype()
                    && Arrays.equals(p.shape().toArray(), shape)
                    && t.dtype().isFloating());
            if (there != null) {
                return there;
            }
        }
        int form = random.nextInt(10);
        Leaf.Form wanted = form < 4 ? List.of(Leaf.Form.values()).get(form) : Leaf.Form.DENSE;
        Leaf.Form possible = Leaf.possible(wanted, shape);
        int count = Leaf.count(possible, shape);
        Object values;
        if (t.dtype().isFloating()) {
            double[] from = Bits.doubles(t);
            values = from.length == 0 ? Values.tame(random, t.dtype(), count) : Arguments.cycled(from, count);
        } else {
            values = Arguments.cycled(Bits.longs(t), count);
        }
        return leaf(new Leaf(t.dtype(), shape, possible, values, t.requiresGrad()));
    }

    /** Equal sizes stay equal. */
    private long[] renamed(long[] shape, Map<Long, Long> sizes) {
        long[] result = new long[shape.length];
        for (int d = 0; d < result.length; d++) {
            Long other = sizes.get(shape[d]);
            if (other == null) {
                int kind = random.nextInt(8);
                other = kind == 0 ? 0L : kind == 1 ? 1L : kind == 2 ? shape[d] + 1 : shape[d];
                sizes.put(shape[d], other);
            }
            result[d] = other;
        }
        return result;
    }

    // ---------------------------------------------------------------- what is no op

    private void action() {
        switch (random.nextInt(13)) {
            case 0, 1 -> {
                List<Action> modes =
                        Arrays.stream(Action.values()).filter(Action::opens).toList();
                Action mode = modes.get(random.nextInt(modes.size()));
                if (mode != Action.AUTOCAST || !catalogue.isClosed()) {
                    emit(mode);
                }
            }
            case 2, 3 -> {
                if (run.depth() > 0) {
                    emit(Action.END);
                }
            }
            case 4 -> {
                Ref r = any();
                emit(Action.CLOSE, r);
            }
            case 5 -> emit(Action.DETACH, any());
            case 6 -> {
                Ref r = pick(t -> t.dtype().isFloating() && (!t.requiresGrad() || Autograd.gradFn(t) == null));
                if (r != null) {
                    emit(Action.REQUIRES_GRAD, r, random.nextInt(3) > 0);
                }
            }
            case 7 -> {
                Ref r = pick(Tensor::requiresGrad);
                if (r != null) {
                    emit(random.nextBoolean() ? Action.RETAIN_GRAD : Action.DOUBLING_HOOK, r);
                }
            }
            case 8 -> {
                Ref r = any();
                emit(random.nextInt(3) == 0 ? Action.LEAVE_SCOPE : Action.READ_GRAD, r);
            }
            case 9 -> checkpoint();
            case 10 -> together();
            default -> gradients();
        }
    }

    private MethodCallee plain() {
        return catalogue
                .plainMethods()
                .get(random.nextInt(catalogue.plainMethods().size()));
    }

    private void checkpoint() {
        Ref r = pick(t -> t.dtype().isFloating());
        if (r != null) {
            List<MethodCallee> chain = new ArrayList<>();
            for (int i = 1 + random.nextInt(3); i > 0; i--) {
                chain.add(plain());
            }
            emit(new Checkpointed(chain), r);
        }
    }

    private void together() {
        if (random.nextInt(4) > 0 || run.depth() > 0) {
            return; // it takes as long as many other steps
        }
        int n = 2 + random.nextInt(2);
        MethodCallee[] calls = new MethodCallee[n];
        Object[] receivers = new Object[n];
        for (int i = 0; i < n; i++) {
            calls[i] = plain();
            receivers[i] = any();
        }
        emit(Together.of(calls), receivers);
    }

    // ---------------------------------------------------------------- gradients

    private void gradients() {
        gradients(
                smooth ? Autograd.Graph.FREE : List.of(Autograd.Graph.values()).get(random.nextInt(3)));
    }

    private void gradients(Autograd.Graph graph) {
        Ref out = pick(t -> t.requiresGrad() && Autograd.gradFn(t) != null);
        if (out == null) {
            return;
        }
        Tensor t = tensor(out);
        List<Ref> inputs = new ArrayList<>();
        for (Ref leaf : leaves) {
            Tensor l = tensor(leaf);
            if (!l.isClosed() && l.requiresGrad() && Autograd.gradFn(l) == null) {
                inputs.add(leaf);
            }
        }
        if (!smooth && random.nextBoolean()) {
            if (random.nextBoolean()) {
                emit(Action.BACKWARD_OF_SUM, out, graph);
            } else {
                emit(Action.BACKWARD, out, gradientFor(t), graph);
            }
            for (Ref leaf : inputs) {
                if (random.nextBoolean() && !tensor(leaf).isClosed()) {
                    emit(Action.READ_GRAD, leaf);
                }
            }
        } else if (!inputs.isEmpty()) {
            List<Ref> given = List.of(gradientFor(t));
            emit(Action.GRAD, List.of(out), inputs, given, graph);
        }
    }

    private Ref gradientFor(Tensor t) {
        return leaf(t.dtype(), t.shape().toArray(), !smooth && random.nextInt(6) == 0);
    }
}
