// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.autograd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Autograd.Graph;
import dev.merapi.error.GradientException;
import dev.merapi.error.SavedTensorException;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.op.OpRegistry;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.testkit.autograd.Writes.Write;
import dev.merapi.types.DeviceType;
import java.lang.invoke.MethodHandles;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/** An op that refuses to write in place has changed nothing; and inference mode records nothing. */
class RefusedWritesTest {
    private static Tensor made(Tensor contents) {
        try (Autograd.Mode mode = Autograd.inference()) {
            return contents.copy();
        }
    }

    /** Every operand of every write, made in inference mode: what would be saved is refused before anything is written. */
    @Test
    void operandsThatCannotBeSavedAreRefusedBeforeTheWrite() {
        List<String> wrong = new ArrayList<>();
        Set<String> refused = new TreeSet<>();
        int done = 0;
        for (Write write : Writes.all()) {
            for (int k = 0; k < write.others().size(); k++) {
                if (write.others().get(k) == null) {
                    continue; // absent
                }
                try (Scope scope = Scope.open()) {
                    Tensor leaf = write.target().copy().requiresGrad(true);
                    Tensor target = leaf.mul(1);
                    List<Tensor> others = new ArrayList<>(write.others());
                    others.set(k, made(others.get(k)));
                    double[] before = target.toDoubleArray();
                    int version = target.version();
                    var history = Autograd.gradFn(target);
                    try {
                        var unused = write.call().apply(target, others);
                        done++;
                        Autograd.backward(target.sum());
                    } catch (SavedTensorException | GradientException e) {
                        refused.add(write.name());
                        boolean same = java.util.Arrays.equals(before, target.toDoubleArray());
                        if (!same || target.version() != version || Autograd.gradFn(target) != history) {
                            wrong.add(write + ", operand " + k + ": changed by " + e.getMessage());
                        }
                    }
                }
            }
        }
        assertThat(wrong).isEmpty();
        assertThat(refused).contains("merapi::index_add_", "merapi::scatter_add_", "merapi::mul_");
        assertThat(done).isPositive();
    }

    @Test
    void whatWasMadeInInferenceModeGetsNoHistoryByAWrite() {
        Tensor y = Tensor.of(2.0, 3).requiresGrad(true);
        Tensor base = Tensor.of(1.0, 1);
        Tensor made = made(base);
        Tensor view;
        try (Autograd.Mode mode = Autograd.inference()) {
            view = base.slice(0, 0, 2);
        }
        for (Tensor t : List.of(made, view)) {
            assertThatThrownBy(() -> t.mul_(y))
                    .isInstanceOf(GradientException.class)
                    .hasMessageContaining("made in inference mode");
            assertThat(t.toDoubleArray()).containsExactly(1, 1);
            assertThat(t.mul_(2).toDoubleArray()).containsExactly(2, 2);
        }
    }

    @Test
    void inferenceModeRecordsNothingWhateverElseIsOn() {
        Tensor x = Tensor.of(1.0, 2).requiresGrad(true);
        Tensor before = x.mul(x);
        try (Autograd.Mode mode = Autograd.inference();
                Autograd.Mode on = Autograd.enableGrad()) {
            assertThat(Autograd.isGradEnabled()).isFalse();
            Tensor y = x.mul(3);
            assertThat(y.requiresGrad()).isFalse();
            assertThat(y.isInference()).isTrue();
            assertThatThrownBy(() -> Autograd.grad(before.sum(), List.of(x), Graph.CREATE))
                    .isInstanceOf(GradientException.class);
            assertThatThrownBy(() ->
                            Autograd.grad(List.of(before), List.of(x), List.of(x.onesLike()), Graph.CREATE, false))
                    .isInstanceOf(GradientException.class)
                    .hasMessageContaining("inference mode records nothing");
            Autograd.backward(before, x.onesLike(), Graph.FREE);
        }
        assertThat(x.grad().toDoubleArray()).containsExactly(2, 4);
        assertThat(Autograd.isGradEnabled()).isTrue();
    }

    @Test
    void aViewIsDerivedAgainInInferenceModeToo() {
        for (boolean look : new boolean[] {false, true}) {
            Tensor y = Tensor.of(3.0).requiresGrad(true);
            Tensor base = Tensor.of(1.0, 2);
            Tensor view = base.slice(0, 1, 2);
            base.mul_(y);
            assertThat(!look || view.requiresGrad()).isTrue();
            try (Autograd.Mode mode = Autograd.inference()) {
                Autograd.backward(view, Tensor.of(new double[] {10}), Graph.FREE);
            }
            assertThat(y.grad().item()).isEqualTo(20);
        }
    }

    record Scaled(Tensor x, Tensor by) {}

    /** Written by hand, with a shape rule or without one; saves what it multiplies by. */
    private static Op<Scaled, Tensor> scaled(boolean shape) {
        Op<Scaled, Tensor> op = Op.define(MethodHandles.lookup(), "test::scale_", Scaled.class, Tensor.class)
                .mutates("x")
                .returnsMutated();
        if (shape) {
            op.shape(Scaled::x).kernel(DeviceType.CPU, (a, out) -> scale(a));
        } else {
            op.returningKernel(DeviceType.CPU, RefusedWritesTest::scale);
        }
        return op.autograd(
                        (a, out) -> a.by(),
                        (context, by, g) -> Grads.of("x", g.mul(by)).and("by", (Tensor) null))
                .register();
    }

    private static Tensor scale(Scaled a) {
        for (long i = 0; i < a.x().numel(); i++) {
            Elements.of(a.x())
                    .setDouble(
                            i,
                            Elements.of(a.x()).getDouble(i)
                                    * Elements.of(a.by()).getDouble(i));
        }
        return a.x();
    }

    @Test
    void aUsersOpIsAskedWhatItSavesBeforeItWrites() {
        for (boolean shape : new boolean[] {true, false}) {
            Op<Scaled, Tensor> op = scaled(shape);
            try {
                Tensor x = Tensor.of(1.0, 2).requiresGrad(true);
                Tensor target = x.mul(1);
                Tensor by = made(Tensor.of(5.0, 7));
                assertThatThrownBy(() -> op.call(new Scaled(target, by)))
                        .isInstanceOf(SavedTensorException.class)
                        .hasMessageContaining("test::scale_")
                        .hasMessageContaining("inference");
                assertThat(target.toDoubleArray()).containsExactly(1, 2);
                Autograd.backward(op.call(new Scaled(target, by.copy())).sum());
                assertThat(x.grad().toDoubleArray()).containsExactly(5, 7);
            } finally {
                OpRegistry.destroy("test::scale_");
            }
        }
    }
}
