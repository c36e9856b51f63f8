// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.optim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backends;
import dev.merapi.device.Memory;
import dev.merapi.error.DTypeException;
import dev.merapi.error.StateDictException;
import dev.merapi.optim.Clip;
import dev.merapi.optim.GradScaler;
import dev.merapi.optim.Optimizer;
import dev.merapi.optim.Sgd;
import dev.merapi.reference.JavaBackend;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What a scaled loss does to gradients and steps, and how the scale adapts. */
class GradScalerTest {
    private static Tensor leaf(DType dtype, double... values) {
        return Tensor.of(values).to(dtype).requiresGrad(true);
    }

    @Test
    void stepsAreThoseOfTheLossWithoutScale() {
        for (boolean unscaled : new boolean[] {false, true}) {
            Tensor x = leaf(DType.FLOAT32, 1, 2);
            try (GradScaler scaler = new GradScaler();
                    Optimizer sgd = new Sgd(List.of(x), 0.5)) {
                Autograd.backward(scaler.scale(x.mul(x).sum()));
                assertThat(x.grad().toDoubleArray()).containsExactly(2 * 65536, 4 * 65536);
                if (unscaled) {
                    scaler.unscale_(sgd);
                    assertThat(x.grad().toDoubleArray()).containsExactly(2, 4);
                }
                scaler.step(sgd);
                scaler.update();
                assertThat(x.toDoubleArray()).containsExactly(0, 0);
                assertThat(scaler.scale()).isEqualTo(65536);
            }
        }
    }

    @Test
    void smallGradientsSurviveInFloat16() {
        Tensor w = leaf(DType.FLOAT32, 1);
        Tensor x = Tensor.of(new float[] {1e-5f}, 1, 1);
        double[] found = new double[2];
        for (int scaled = 0; scaled < 2; scaled++) {
            Tensor loss;
            try (Autocast mode = Autocast.on(DType.FLOAT16)) {
                loss = x.linear(w.view(1, 1), null).sum().mul(1e-5);
            }
            try (GradScaler scaler = new GradScaler(scaled == 1);
                    Optimizer sgd = new Sgd(List.of(w), 0)) {
                Autograd.backward(scaler.scale(loss));
                scaler.unscale_(sgd);
                found[scaled] = w.grad().item();
                w.setGrad(null);
            }
        }
        // 1e-10 is less than half of 2^-24, the smallest float16; that is also the distance of those near 1e-5.
        assertThat(found[0]).isEqualTo(0);
        assertThat(found[1]).isCloseTo(1e-10, within(1e-10 * 0x1p-24 / 1e-5 * 2));
    }

    @Test
    void anOverflowSkipsTheStepAndHalvesTheScale() {
        Tensor x = leaf(DType.FLOAT32, 1, 2);
        Tensor y = leaf(DType.FLOAT32, 3);
        try (GradScaler scaler = new GradScaler(4, 2, 0.5, 2, true);
                Optimizer first = new Sgd(List.of(x), 0.25);
                Optimizer second = new Sgd(List.of(y), 0.25)) {
            double[] scales = new double[6];
            for (int i = 0; i < 6; i++) {
                try (Scope scope = Scope.open()) {
                    double factor = i == 1 ? Double.POSITIVE_INFINITY : 1;
                    Autograd.backward(scaler.scale(x.mul(factor).sum().add(y.sum())));
                    scaler.step(first);
                    scaler.step(second);
                    first.zeroGrad();
                    second.zeroGrad();
                }
                scaler.update();
                scales[i] = scaler.scale();
            }
            assertThat(scales).containsExactly(4, 2, 2, 4, 4, 8);
            assertThat(first.steps()).isEqualTo(5);
            assertThat(second.steps()).isEqualTo(6);
            assertThat(x.toDoubleArray()).containsExactly(1 - 5 * 0.25, 2 - 5 * 0.25);
            assertThat(y.item()).isEqualTo(3 - 6 * 0.25);
        }
    }

    @Test
    void clippingSeesTheGradientsThemselves() {
        Tensor x = leaf(DType.FLOAT32, 3, 4);
        try (GradScaler scaler = new GradScaler();
                Optimizer sgd = new Sgd(List.of(x), 1)) {
            Autograd.backward(scaler.scale(x.mul(x).sum().mul(0.5)));
            scaler.unscale_(sgd);
            var norm = Clip.norm(List.of(x), 1);
            assertThat(norm.norm().item()).isEqualTo(5);
            scaler.step(sgd, norm.scale());
            scaler.update();
            assertThat(x.toDoubleArray()[0]).isCloseTo(3 - 0.6, within(1e-5));
        }
        // Infinite gradients clip to NaN, and the step is left out.
        Tensor z = leaf(DType.FLOAT32, 1, 1);
        try (GradScaler scaler = new GradScaler();
                Optimizer sgd = new Sgd(List.of(z), 1)) {
            Autograd.backward(scaler.scale(z.mul(Double.POSITIVE_INFINITY).sum()));
            scaler.unscale_(sgd);
            Clip.norm_(List.of(z), 1);
            scaler.step(sgd);
            scaler.update();
            assertThat(z.toDoubleArray()).containsExactly(1, 1);
            assertThat(scaler.scale()).isEqualTo(32768);
        }
    }

    @Test
    void parametersOfSeveralDtypesAreOneModel() {
        Tensor a = leaf(DType.FLOAT16, 3);
        Tensor b = leaf(DType.FLOAT32, 4);
        try (GradScaler scaler = new GradScaler(16, 2, 0.5, 10, true);
                Optimizer sgd = new Sgd(List.of(a, b), 1)) {
            Autograd.backward(scaler.scale(
                    a.mul(a).to(DType.FLOAT32).sum().add(b.mul(b).sum()).mul(0.5)));
            assertThatThrownBy(() -> scaler.unscale_(sgd))
                    .isInstanceOf(DTypeException.class)
                    .hasMessageContaining("float16[1]");
            var norm = Clip.norm(List.of(a, b), 2.5 * scaler.scale());
            assertThat(norm.norm().item()).isEqualTo(5 * 16);
            scaler.step(sgd, norm.scale());
            scaler.update();
            assertThat(a.item()).isCloseTo(1.5, within(2e-3));
            assertThat(b.item()).isCloseTo(2, within(1e-5));
            Autograd.backward(scaler.scale(b.sum()
                    .add(a.mul(Double.POSITIVE_INFINITY).to(DType.FLOAT32).sum())));
            scaler.step(sgd);
            scaler.update();
            assertThat(b.item()).isCloseTo(2, within(1e-5));
            assertThat(scaler.scale()).isEqualTo(8);
        }
    }

    @Test
    void misuseIsNamed() {
        Tensor x = leaf(DType.FLOAT32, 1);
        try (GradScaler scaler = new GradScaler();
                Optimizer sgd = new Sgd(List.of(x), 1)) {
            Autograd.backward(scaler.scale(x.sum()));
            scaler.unscale_(sgd);
            assertThatThrownBy(() -> scaler.unscale_(sgd))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("update()");
            scaler.step(sgd);
            assertThatThrownBy(() -> scaler.step(sgd)).isInstanceOf(IllegalStateException.class);
            assertThatThrownBy(() -> scaler.unscale_(sgd)).isInstanceOf(IllegalStateException.class);
            scaler.update();
            scaler.step(sgd);
        }
        assertThatThrownBy(() -> new GradScaler(0, 2, 0.5, 10, true)).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void aScalerThatIsOffPassesEverythingOn() {
        Tensor x = leaf(DType.FLOAT32, 1);
        try (GradScaler scaler = new GradScaler(false);
                Optimizer sgd = new Sgd(List.of(x), 1)) {
            Tensor loss = x.sum();
            assertThat(scaler.scale(loss)).isSameAs(loss);
            Autograd.backward(loss);
            scaler.unscale_(sgd);
            scaler.step(sgd);
            scaler.update();
            assertThat(x.item()).isEqualTo(0);
            assertThat(scaler.scale()).isEqualTo(1);
        }
    }

    @Test
    void theStateGoesOnElsewhere() {
        Tensor x = leaf(DType.FLOAT32, 1);
        try (GradScaler scaler = new GradScaler(8, 2, 0.5, 2, true);
                GradScaler other = new GradScaler(8, 2, 0.5, 2, true);
                Optimizer sgd = new Sgd(List.of(x), 0)) {
            Autograd.backward(scaler.scale(x.sum()));
            scaler.step(sgd);
            scaler.update();
            other.loadStateDict(scaler.stateDict());
            for (GradScaler s : List.of(scaler, other)) {
                s.step(sgd);
                s.update();
                assertThat(s.scale()).isEqualTo(16);
            }
            assertThatThrownBy(() -> other.loadStateDict(new StateDict().put("scale", Tensor.scalar(1f))))
                    .isInstanceOf(StateDictException.class)
                    .hasMessageContaining("streak");
        }
    }

    @Test
    void withoutGradientsNothingHappens() {
        Tensor x = leaf(DType.FLOAT32, 1);
        try (GradScaler scaler = new GradScaler();
                Optimizer sgd = new Sgd(List.of(x), 1)) {
            scaler.step(sgd);
            scaler.update();
            assertThat(x.item()).isEqualTo(1);
        }
    }

    @Test
    void nothingStaysBehind() {
        Device device = Device.of(DeviceType.register("scalers"), 0);
        Backends.register(new JavaBackend(DeviceType.register("scalers")));
        Tensor x = Tensor.ones(Shape.of(1000), DType.FLOAT32, device).requiresGrad(true);
        long before = 0;
        try (GradScaler scaler = new GradScaler();
                Optimizer sgd = new Sgd(List.of(x), 0.1, 0.9, false, 0)) {
            for (int i = 0; i < 4; i++) {
                try (Scope scope = Scope.open()) {
                    Autograd.backward(scaler.scale(x.mul(x).sum()));
                    scaler.unscale_(sgd);
                    scaler.step(sgd);
                    scaler.update();
                    sgd.zeroGrad();
                }
                long now = Memory.stats(device).allocated();
                assertThat(i == 0 ? now : before).isEqualTo(now);
                before = now;
            }
        }
    }
}
