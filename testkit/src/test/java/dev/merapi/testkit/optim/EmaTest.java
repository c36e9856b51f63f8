// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.optim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.StateDictException;
import dev.merapi.nn.Linear;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Ema;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class EmaTest {
    private static void step(Linear model, AdamW optimizer, int i) {
        Tensor x = Tensor.of(new float[] {i, 1, -i}, 1, 3).to(model.weight().dtype());
        Autograd.backward(model.forward(x).square().mean());
        optimizer.step();
        optimizer.zeroGrad();
    }

    private static double[] weight(Linear model) {
        return model.weight().detach().toDoubleArray();
    }

    @Test
    void averagesAreWhatTheSumSays() {
        Linear model = new Linear(3, 2);
        List<double[]> seen = new ArrayList<>();
        seen.add(weight(model));
        try (Ema ema = new Ema(model, 0.9);
                AdamW optimizer = new AdamW(model.parameters(), 0.1, 0)) {
            for (int i = 0; i < 6; i++) {
                step(model, optimizer, i);
                ema.update();
                seen.add(weight(model));
            }
            // decay^n · first + (1 − decay) · Σ decay^(n − k) · w_k
            int n = seen.size() - 1;
            double[] expected = new double[6];
            for (int k = 0; k <= n; k++) {
                double factor = Math.pow(0.9, n - k) * (k == 0 ? 1 : 0.1);
                for (int j = 0; j < 6; j++) {
                    expected[j] += factor * seen.get(k)[j];
                }
            }
            double[] now = weight(model);
            try (Ema.Applied averaged = ema.apply()) {
                assertThat(weight(model)).containsExactly(expected, within(1e-6));
                assertThatThrownBy(ema::update).isInstanceOf(IllegalStateException.class);
                assertThatThrownBy(ema::apply).isInstanceOf(IllegalStateException.class);
            }
            assertThat(weight(model)).containsExactly(now);
            assertThat(ema.stateDict().get("parameters.weight", Tensor.class).toDoubleArray())
                    .containsExactly(expected, within(1e-6));
        }
    }

    @Test
    void theStateIsAllOfIt() {
        Linear model = new Linear(3, 2);
        Linear other = new Linear(3, 2);
        try (Ema ema = new Ema(model, 0.5);
                Ema same = new Ema(other, 0.5);
                Ema different = new Ema(other, 0.9)) {
            model.weight().detach().add_(1);
            ema.update();
            same.loadStateDict(ema.stateDict());
            assertThat(same.stateDict().get("parameters.weight", Tensor.class).toFloatArray())
                    .containsExactly(ema.stateDict()
                            .get("parameters.weight", Tensor.class)
                            .toFloatArray());
            assertThatThrownBy(() -> different.loadStateDict(ema.stateDict()))
                    .isInstanceOf(StateDictException.class)
                    .hasMessageContaining("decay");
        }
        assertThatThrownBy(() -> new Ema(model, 1)).hasMessageContaining("decay 1.0 does not lie in [0, 1)");
        assertThatThrownBy(() -> new Ema(model, Double.NaN)).hasMessageContaining("decay NaN");
    }

    /** Sixteen bits are averaged in float32, and what the optimiser keeps beside them does not see the averages. */
    @Test
    void testsInBetweenChangeNothing() {
        List<double[]> found = new ArrayList<>();
        for (boolean tested : new boolean[] {false, true}) {
            Linear model = new Linear(3, 2);
            model.weight().detach().copy_(Tensor.linspace(-1, 1, 6).reshape(2, 3));
            model.bias().detach().fill_(0.5);
            model.to(DType.BFLOAT16);
            try (Ema ema = new Ema(model, 0.75);
                    AdamW optimizer = new AdamW(model.parameters(), 1e-3, 0)) {
                for (int i = 0; i < 5; i++) {
                    step(model, optimizer, i);
                    ema.update();
                    if (tested) {
                        ema.apply().close();
                    }
                }
                Tensor average = ema.stateDict().get("parameters.weight", Tensor.class);
                assertThat(average.dtype()).isEqualTo(DType.FLOAT32);
                found.add(average.toDoubleArray());
                found.add(optimizer
                        .stateDict()
                        .get("parameters.weight.master", Tensor.class)
                        .toDoubleArray());
                model.to(DType.FLOAT64);
                ema.update();
                assertThat(ema.stateDict()
                                .get("parameters.weight", Tensor.class)
                                .dtype())
                        .isEqualTo(DType.FLOAT64);
            }
        }
        assertThat(found.get(2)).containsExactly(found.get(0));
        assertThat(found.get(3)).containsExactly(found.get(1));
    }
}
