// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.autograd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Autograd.Graph;
import dev.merapi.autograd.Checkpoint;
import dev.merapi.autograd.SavedTensorHooks;
import dev.merapi.backend.Backends;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.dispatch.Context;
import dev.merapi.error.SavedTensorException;
import dev.merapi.random.Generator;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;

/** Saved-tensor hooks, and checkpointing, which stands on them. */
class SavedTensorHooksTest {
    private static Tensor leaf(double... values) {
        return Tensor.of(values).requiresGrad(true);
    }

    private static SavedTensorHooks.Pair pair(Function<Tensor, Object> pack, Function<Object, Tensor> unpack) {
        return new SavedTensorHooks.Pair() {
            @Override
            public Object pack(Tensor tensor) {
                return pack.apply(tensor);
            }

            @Override
            public Tensor unpack(Object packed) {
                return unpack.apply(packed);
            }
        };
    }

    // ---------------------------------------------------------------- hooks

    @Test
    void whatHooksKeepIsUnpackedForBackward() {
        Tensor x = leaf(1, 2, 3);
        int[] unpacked = {0};
        Tensor y;
        try (SavedTensorHooks hooks = SavedTensorHooks.install(pair(
                t -> {
                    assertThat(Autograd.isGradEnabled()).isFalse();
                    return t.toDoubleArray();
                },
                values -> {
                    unpacked[0]++;
                    return Tensor.of((double[]) values);
                }))) {
            y = x.mul(x);
        }
        Autograd.backward(y.sum(), null, Graph.RETAIN);
        Autograd.backward(y.sum());
        assertThat(x.grad().toDoubleArray()).containsExactly(4, 8, 12);
        assertThat(unpacked[0]).as("each time it is needed").isEqualTo(4);
    }

    @Test
    void hooksComposeInnermostFirst() {
        List<String> order = new ArrayList<>();
        Function<String, SavedTensorHooks.Pair> named = name -> pair(
                t -> {
                    order.add("pack " + name);
                    return t.mul(1);
                },
                t -> {
                    order.add("unpack " + name);
                    return ((Tensor) t).mul(1);
                });
        Tensor x = leaf(3);
        Tensor y;
        try (SavedTensorHooks outer = SavedTensorHooks.install(named.apply("outer"));
                SavedTensorHooks inner = SavedTensorHooks.install(named.apply("inner"))) {
            y = x.exp();
        }
        Autograd.backward(y);
        assertThat(order).containsExactly("pack inner", "pack outer", "unpack outer", "unpack inner");
        assertThat(x.grad().item()).isEqualTo(Math.exp(3));
    }

    @Test
    void theVersionCheckStaysInForceUnderHooks() {
        Tensor x = leaf(3);
        Tensor a = x.mul(2);
        Tensor y;
        try (SavedTensorHooks hooks = SavedTensorHooks.install(pair(t -> t, t -> (Tensor) t))) {
            y = a.mul(a);
        }
        a.mul_(Tensor.of(5.0));
        assertThatThrownBy(() -> Autograd.backward(y))
                .isInstanceOf(SavedTensorException.class)
                .hasMessageContaining("modified in place");
    }

    @Test
    void unpackedCopiesKeepTheirPlaceInTheGraph() {
        Tensor x = leaf(3);
        Tensor y;
        try (SavedTensorHooks hooks =
                SavedTensorHooks.install(pair(Tensor::toDoubleArray, values -> Tensor.of((double[]) values)))) {
            y = x.mul(x).mul(x);
        }
        Tensor first =
                Autograd.grad(List.of(y), List.of(x), null, Graph.CREATE, false).get(0);
        assertThat(first.item()).isEqualTo(27);
        assertThat(Autograd.grad(first, List.of(x)).get(0).item()).isEqualTo(18);
    }

    @Test
    void packedTensorsOutliveTheScopeTheyWereMadeInAndAreClosedAfterUse() {
        List<Tensor> packed = new ArrayList<>();
        Tensor x = leaf(3);
        try (Scope outer = Scope.open()) {
            Tensor y;
            try (Scope inner = Scope.open();
                    SavedTensorHooks hooks = SavedTensorHooks.install(pair(
                            t -> {
                                packed.add(t.copy());
                                return packed.get(packed.size() - 1);
                            },
                            t -> (Tensor) t))) {
                y = inner.keep(x.mul(x));
            }
            assertThat(packed).noneMatch(Tensor::isClosed);
            Autograd.backward(y);
        }
        assertThat(x.grad().item()).isEqualTo(6);
        assertThat(packed).allMatch(Tensor::isClosed);
    }

    @Test
    void badHooksAreErrors() {
        Tensor x = leaf(3);
        assertThatThrownBy(() -> {
                    try (SavedTensorHooks hooks = SavedTensorHooks.install(pair(t -> t.zero_(), t -> (Tensor) t))) {
                        x.mul(x);
                    }
                })
                .isInstanceOf(SavedTensorException.class)
                .hasMessageContaining("pack wrote into");
        Tensor y;
        try (SavedTensorHooks hooks = SavedTensorHooks.install(pair(t -> t, t -> Tensor.of(1f, 2f)))) {
            y = x.exp();
        }
        assertThatThrownBy(() -> Autograd.backward(y))
                .isInstanceOf(SavedTensorException.class)
                .hasMessageContaining("unpacked float32[2] cpu for float64[1] cpu");
    }

    @Test
    void savedTensorsMayWaitOnTheCpu() {
        Backends.register(new dev.merapi.reference.JavaBackend(dev.merapi.types.DeviceType.register("toy")));
        Device toy = Device.of("toy");
        Tensor x = leaf(1, 2, 3).detach().to(toy).requiresGrad(true);
        Tensor y;
        try (SavedTensorHooks hooks = SavedTensorHooks.onCpu()) {
            y = x.exp().mul(x);
        }
        Autograd.backward(y.sum());
        assertThat(x.grad().device()).isSameAs(toy);
        assertThat(x.grad().toDoubleArray()[1]).isEqualTo(3 * Math.exp(2));
    }

    @Test
    void savingCanBeRefused() {
        Tensor x = leaf(1);
        try (SavedTensorHooks hooks = SavedTensorHooks.refuse("not here")) {
            assertThatThrownBy(() -> x.exp())
                    .isInstanceOf(SavedTensorException.class)
                    .hasMessage("merapi::exp: not here");
        }
        x.exp();
    }

    @Test
    void withOriginRecordingTheErrorSaysWhereTheTensorWasWritten() {
        dev.merapi.storage.LeakDetection before = dev.merapi.storage.LeakDetection.level();
        dev.merapi.storage.LeakDetection.setLevel(dev.merapi.storage.LeakDetection.PARANOID);
        try {
            Tensor a = leaf(3).mul(2);
            Tensor y = a.mul(a);
            a.add_(Tensor.of(1.0));
            assertThatThrownBy(() -> Autograd.backward(y))
                    .isInstanceOf(SavedTensorException.class)
                    .hasMessageContaining("called at ");
        } finally {
            dev.merapi.storage.LeakDetection.setLevel(before);
        }
    }

    // ---------------------------------------------------------------- checkpointing

    private static UnaryOperator<Tensor> counted(int[] runs, UnaryOperator<Tensor> part) {
        return t -> {
            runs[0]++;
            return part.apply(t);
        };
    }

    @Test
    void aCheckpointedPartRunsOnceMoreAndGivesTheSameGradient() {
        int[] runs = {0};
        Tensor w = leaf(0.5);
        Tensor x = leaf(2);
        Tensor y =
                Checkpoint.checkpoint(counted(runs, t -> t.mul(w).exp().mul(t).sin()), x);
        assertThat(runs[0]).isOne();
        Autograd.backward(y.mul(y));
        assertThat(runs[0]).isEqualTo(2);
        Tensor x2 = leaf(2);
        Tensor w2 = leaf(0.5);
        Tensor y2 = x2.mul(w2).exp().mul(x2).sin();
        Autograd.backward(y2.mul(y2));
        assertThat(x.grad().item()).isEqualTo(x2.grad().item());
        assertThat(w.grad().item()).isEqualTo(w2.grad().item());
    }

    @Test
    void nothingIsRecomputedWithoutRecordingAndEachPassOfAKeptGraphRecomputesOnce() {
        int[] runs = {0};
        Tensor x = leaf(2);
        Autograd.noGrad(() -> Checkpoint.checkpoint(counted(runs, t -> t.exp()), x));
        assertThat(runs[0]).isOne();
        Tensor y = Checkpoint.checkpoint(counted(runs, t -> t.exp().exp()), x);
        Autograd.backward(y, null, Graph.RETAIN);
        Autograd.backward(y);
        assertThat(runs[0]).isEqualTo(4);
        assertThat(x.grad().item()).isEqualTo(2 * Math.exp(2) * Math.exp(Math.exp(2)));
        assertThatThrownBy(() -> Autograd.backward(y)).isInstanceOf(SavedTensorException.class);
    }

    @Test
    void checkpointsNestAndGiveHigherDerivatives() {
        int[] outer = {0};
        int[] inner = {0};
        Tensor x = leaf(0.3);
        UnaryOperator<Tensor> part = counted(outer, t -> {
            Tensor a = t.mul(t).exp();
            Tensor b = Checkpoint.checkpoint(counted(inner, s -> s.sin().mul(s)), a);
            return b.mul(t);
        });
        Tensor first = Autograd.grad(List.of(Checkpoint.checkpoint(part, x)), List.of(x), null, Graph.CREATE, false)
                .get(0);
        Tensor plain = Autograd.grad(List.of(part.apply(x)), List.of(x), null, Graph.CREATE, false)
                .get(0);
        assertThat(first.item()).isEqualTo(plain.item());
        assertThat(Autograd.grad(first, List.of(x)).get(0).item())
                .isEqualTo(Autograd.grad(plain, List.of(x)).get(0).item());
    }

    @Test
    void randomStateAndModesAreThoseOfTheFirstTimeAndAreRestored() {
        Context context = Context.current();
        Generator before = context.setGenerator(new Generator(7));
        try {
            List<Long> drawn = new ArrayList<>();
            List<Boolean> checked = new ArrayList<>();
            Tensor x = leaf(2);
            boolean was = context.setChecked(true);
            Tensor y = Checkpoint.checkpoint(
                    t -> {
                        drawn.add(Context.current().generator().take(4));
                        checked.add(Context.current().isChecked());
                        return t.exp().mul(t);
                    },
                    x);
            context.setChecked(false);
            context.generator().take(100);
            long ahead = context.generator().offset();
            Autograd.backward(y);
            context.setChecked(was);
            assertThat(drawn).containsExactly(0L, 0L);
            assertThat(checked).containsExactly(true, true);
            assertThat(context.generator().offset()).isEqualTo(ahead);
        } finally {
            context.setGenerator(before);
        }
    }

    @Test
    void aPartThatDoesSomethingElseTheSecondTimeIsAnError() {
        int[] runs = {0};
        Tensor x = leaf(1, 2);
        Tensor fewer = Checkpoint.checkpoint(t -> runs[0]++ == 0 ? t.exp().exp() : t.exp(), x);
        assertThatThrownBy(() -> Autograd.backward(fewer.sum()))
                .isInstanceOf(SavedTensorException.class)
                .hasMessageContaining("a different number of tensors")
                .hasMessageContaining("2 in the forward call, 1 when");
        runs[0] = 0;
        Tensor other = Checkpoint.checkpoint(
                t -> runs[0]++ == 0 ? t.exp() : t.to(DType.FLOAT32).exp(), x);
        assertThatThrownBy(() -> Autograd.backward(other.sum()))
                .isInstanceOf(SavedTensorException.class)
                .hasMessageContaining("another form")
                .hasMessageContaining("float32[2]");
        runs[0] = 0;
        Tensor another = Checkpoint.checkpoint(t -> runs[0]++ == 0 ? t.exp() : t.mul(t), x);
        assertThatThrownBy(() -> Autograd.backward(another.sum()))
                .isInstanceOf(SavedTensorException.class)
                .hasMessageContaining("saved tensor 0 is another op's")
                .hasMessageContaining("of merapi::exp")
                .hasMessageContaining("of merapi::mul");
        runs[0] = 0;
        boolean was = Context.current().setChecked(true);
        try {
            Tensor values = Checkpoint.checkpoint(t -> t.mul(1 + runs[0]++).exp(), x);
            assertThatThrownBy(() -> Autograd.backward(values.sum())).hasMessageContaining("other values");
        } finally {
            Context.current().setChecked(was);
        }
    }

    @Test
    void anInputThatWasWrittenToIsFound() {
        Tensor x = leaf(1);
        Tensor a = x.mul(2);
        Tensor y = Checkpoint.checkpoint(t -> t.exp(), a);
        Autograd.noGrad(() -> a.zero_());
        assertThatThrownBy(() -> Autograd.backward(y)).isInstanceOf(SavedTensorException.class);
    }

    @Test
    void memoryIsHeldForInputsOnlyAndAllIsGivenBack() {
        Tensor x = Tensor.ones(DType.FLOAT64, 100_000).requiresGrad(true);
        UnaryOperator<Tensor> deep = t -> {
            Tensor y = t;
            for (int i = 0; i < 10; i++) {
                y = y.sin();
            }
            return y;
        };
        long size = 100_000 * 8;
        long before = BackendChoice.allocator(Device.CPU).stats().allocated();
        try (Scope scope = Scope.open()) {
            Tensor y = Checkpoint.checkpoint(deep, x);
            assertThat(BackendChoice.allocator(Device.CPU).stats().allocated() - before)
                    .isLessThan(3 * size);
            Autograd.backward(y.sum());
        }
        assertThat(BackendChoice.allocator(Device.CPU).stats().allocated() - before)
                .isLessThan(2 * size);
        x.setGrad(null);
        assertThat(BackendChoice.allocator(Device.CPU).stats().allocated() - before)
                .isLessThan(size);
    }

    @Test
    void anExceptionInThePartComesThrough() {
        Tensor x = leaf(1);
        assertThatThrownBy(() -> Checkpoint.checkpoint(
                        t -> {
                            t.exp();
                            throw new IllegalStateException("part");
                        },
                        x))
                .hasMessage("part");
        assertThat(Context.current().savedTensorHooks()).isNull();
        assertThat(Context.current().scope()).isNull();
    }
}
