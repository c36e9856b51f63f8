// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.op;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.backend.Backends;
import dev.merapi.op.Op;
import dev.merapi.op.Schema;
import dev.merapi.op.tree.RecordType;
import dev.merapi.ops.Factories;
import dev.merapi.ops.RandomOps;
import dev.merapi.reference.JavaBackend;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.testkit.OpRows;
import dev.merapi.testkit.OpSamples;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Every argument of every built-in op in every wrong form that its schema allows: the op works, or throws one of the
 * project's exceptions that names the op, and the argument where one alone is wrong.
 */
class WrongArgumentsTest {
    /** What is wrong, and the name that a refusal has to contain; it is null if an op may make sense of it. */
    private record Wrong(String what, @Nullable Object value, boolean mustFail) {}

    private static final DeviceType TOY = DeviceType.register("toy");
    private static final Set<String> POSITIVE = Set.of("eps", "p", "labelSmoothing", "correction", "deviation");
    private static final Set<String> FINITE = Set.of("scale", "mean", "low");

    private final List<String> findings = new ArrayList<>();
    private int calls;
    private int refusals;

    @BeforeAll
    static void anotherDevice() {
        Backends.register(new JavaBackend(TOY));
    }

    @Test
    void wrongArgumentsAreRefusedByName() {
        for (OpSamples<?, ?> row : OpRows.all()) {
            sweep(row);
        }
        withoutRows().forEach((op, args) -> sweep(op, args));
        assertThat(findings).as(calls + " calls, " + refusals + " refused").isEmpty();
        assertThat(refusals).isGreaterThan(2000);
    }

    /** Ops of random numbers, which have no samples: their results are no values. */
    private static Map<Op<?, ?>, Supplier<? extends Record>> withoutRows() {
        long[] sizes = {2, 3};
        Map<Op<?, ?>, Supplier<? extends Record>> all = new LinkedHashMap<>();
        all.put(RandomOps.UNIFORM, () -> new RandomOps.Uniform(Tensor.zeros(2, 3), 0, 1, 1, 0, base()));
        all.put(RandomOps.NORMAL, () -> new RandomOps.Normal(Tensor.zeros(2, 3), 0, 1, 1, 0, base()));
        all.put(RandomOps.INTEGERS, () -> new RandomOps.Integers(Tensor.of(1L, 2L), 0, 5, 1, 0, base()));
        all.put(RandomOps.BERNOULLI, () -> new RandomOps.Bernoulli(Tensor.zeros(2, 3), 0.5, 1, 0, base()));
        all.put(RandomOps.DROPOUT, () -> new RandomOps.Dropout(Tensor.ones(2, 3), 0.5, 1, 0, base()));
        all.put(RandomOps.RAND, () -> new RandomOps.Rand(sizes, 0, 1, DType.FLOAT32, Device.CPU, 1, 0, base()));
        all.put(RandomOps.RANDN, () -> new RandomOps.Randn(sizes, 0, 1, DType.FLOAT32, Device.CPU, 1, 0, base()));
        all.put(RandomOps.RANDINT, () -> new RandomOps.Randint(sizes, 0, 5, DType.INT64, Device.CPU, 1, 0, base()));
        all.put(RandomOps.RANDPERM, () -> new RandomOps.Randperm(5, 1, 0));
        all.put(Factories.EMPTY, () -> new Factories.Empty(sizes, DType.FLOAT32, Device.CPU));
        return all;
    }

    private static Tensor base() {
        return Tensor.scalar(0, DType.INT64);
    }

    private <A extends Record, R> void sweep(OpSamples<A, R> row) {
        DType dtype = row.dtypes().contains(DType.FLOAT32)
                ? DType.FLOAT32
                : row.dtypes().get(0);
        sweep(row.op(), () -> row.example(dtype));
    }

    private void sweep(Op<?, ?> op, Supplier<? extends Record> example) {
        RecordType type = RecordType.of(op.schema().type(), null);
        for (int i = 0; i < type.size(); i++) {
            try (Scope scope = Scope.open()) {
                Record args = example.get();
                Object right = type.get(args, i);
                Schema.Argument argument = op.schema().arguments().get(i);
                for (Wrong wrong : wrong(argument, type.component(i).getType(), right)) {
                    Object[] values = new Object[type.size()];
                    for (int k = 0; k < values.length; k++) {
                        values[k] = k == i ? wrong.value : type.get(args, k);
                    }
                    call(op, type, values, argument, wrong);
                }
            }
        }
    }

    @SuppressWarnings("unchecked")
    private <A extends Record, R> void call(
            Op<A, R> op, RecordType type, Object[] values, Schema.Argument argument, Wrong wrong) {
        String what = op.name() + ", " + argument.name() + " " + wrong.what;
        calls++;
        try {
            op.call((A) type.make(values));
            if (wrong.mustFail) {
                findings.add(what + ": accepted");
            }
        } catch (RuntimeException | Error e) {
            refusals++;
            String text = String.valueOf(e.getMessage());
            if (!e.getClass().getPackageName().startsWith("dev.merapi.")) {
                findings.add(what + ": " + e + " at "
                        + Arrays.asList(e.getStackTrace()).subList(0, Math.min(3, e.getStackTrace().length)));
            } else if (!flat(text).contains(flat(op.name().substring(op.name().indexOf("::") + 2)))) {
                findings.add(what + ": does not name the op: " + text);
            } else if (wrong.mustFail && !text.contains(argument.name())) {
                findings.add(what + ": does not name the argument: " + text);
            }
        }
    }

    private static String flat(String text) {
        return text.toLowerCase(Locale.ROOT).replace("_", "");
    }

    private static List<Wrong> wrong(Schema.Argument a, Class<?> type, @Nullable Object right) {
        List<Wrong> all = new ArrayList<>();
        if (!type.isPrimitive()) {
            all.add(new Wrong("null", type == Optional.class ? Optional.empty() : null, !a.optional()));
        }
        Object plain = right instanceof Optional<?> o ? o.orElse(null) : right;
        if (plain instanceof Tensor t) {
            tensors(t)
                    .forEach((what, wrong) -> all.add(new Wrong(
                            what, right instanceof Optional ? Optional.of(wrong) : wrong, what.equals("closed"))));
        } else if (plain instanceof List<?> list && !list.isEmpty() && list.get(0) instanceof Tensor t) {
            all.add(new Wrong("empty", List.of(), false));
            all.add(new Wrong("of null", with(list, null), !a.optionalElements()));
            tensors(t)
                    .forEach((what, wrong) ->
                            all.add(new Wrong("of " + what, with(list, wrong), what.equals("closed"))));
        } else if (plain instanceof List<?> list) {
            all.add(new Wrong("of null", list.isEmpty() ? null : with(list, null), true));
            all.add(new Wrong("too long", longer(list), false));
            if (!list.isEmpty() && list.get(0) instanceof Number) {
                all.add(new Wrong("of NaN", with(list, Double.NaN), false));
            }
        } else if (plain instanceof Double) {
            for (double d : new double[] {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, -1, 1e308}) {
                boolean nonsense = POSITIVE.contains(a.name()) && !(d >= 0)
                        || FINITE.contains(a.name()) && !(Math.abs(d) <= Double.MAX_VALUE);
                all.add(new Wrong(String.valueOf(d), d, nonsense));
            }
        } else if (plain instanceof long[] l) {
            all.add(new Wrong("of one more", Arrays.copyOf(l, l.length + 1), false));
            all.add(new Wrong("of none", new long[0], false));
        } else if (plain instanceof int[] l) {
            all.add(new Wrong("of one more", Arrays.copyOf(l, l.length + 1), false));
            all.add(new Wrong("of none", new int[0], false));
        }
        return all;
    }

    private static List<Object> with(List<?> list, @Nullable Object last) {
        List<Object> all = new ArrayList<>(list);
        all.set(all.size() - 1, last);
        return all;
    }

    private static List<Object> longer(List<?> list) {
        List<Object> all = new ArrayList<>(list);
        all.add(list.isEmpty() ? 1.0 : list.get(0));
        return all;
    }

    private static Map<String, Tensor> tensors(Tensor t) {
        Map<String, Tensor> all = new LinkedHashMap<>();
        Tensor closed = t.detach().copy();
        closed.close();
        all.put("closed", closed);
        all.put("meta", Tensor.meta(t));
        all.put("elsewhere", t.detach().to(Device.of(TOY, 0)));
        for (DType dtype : DType.values()) {
            if (dtype != t.dtype()) {
                all.put(dtype.toString(), t.detach().to(dtype));
            }
        }
        all.put("of a rank more", t.detach().unsqueeze(0));
        all.put("of two ranks more", t.detach().unsqueeze(-1).unsqueeze(-1));
        if (t.rank() > 0 && t.numel() > 0) {
            all.put("of a rank less", t.detach().select(0, 0));
            all.put("scalar", t.detach().reshape(t.numel()).select(0, 0));
            all.put("vector", t.detach().reshape(t.numel()));
        }
        return all;
    }
}
