// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.merapi.autograd.Autograd;
import dev.merapi.cuda.Simulator;
import dev.merapi.nn.Activation;
import dev.merapi.nn.BatchNorm1d;
import dev.merapi.nn.Conv1d;
import dev.merapi.nn.Layer;
import dev.merapi.nn.Pool;
import dev.merapi.nn.Rearrange;
import dev.merapi.nn.Sequential;
import dev.merapi.optim.Sgd;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/** A block that moved to the device after its optimiser was made steps as it does on the CPU, with its buffers. */
class BlocksTest {
    private static void compare(Supplier<Layer> make, Tensor x) {
        Layer here = make.get();
        Layer there = make.get();
        there.loadStateDict(here.stateDict());
        try (Sgd first = new Sgd(here.parameters(), 0.1);
                Sgd second = new Sgd(there.parameters(), 0.1)) {
            there.to(Simulator.DEVICE);
            for (int i = 0; i < 2; i++) {
                step(here, first, x);
                step(there, second, x.to(Simulator.DEVICE));
            }
        }
        there.to(Device.CPU);
        there.named()
                .forEach((name, p) -> assertArrayEquals(
                        here.named().get(name).tensor().toDoubleArray(),
                        p.tensor().toDoubleArray(),
                        1e-4,
                        name));
    }

    private static void step(Layer layer, Sgd optimizer, Tensor x) {
        try (Scope scope = Scope.open()) {
            Tensor y = layer.forward(x);
            Autograd.backward(y.add(0.5).square().mean());
            optimizer.step();
            optimizer.zeroGrad();
        }
    }

    @Test
    void convolutionNormAndPoolStepThere() {
        Supplier<Layer> make = () -> new Sequential()
                .then(new Conv1d(2, 4, 3, Conv1d.options().padding(1).groups(2)))
                .then(new BatchNorm1d(4))
                .then(Activation.silu())
                .then(Pool.avg(2))
                .then(Rearrange.flatten());
        compare(make, Tensor.randn(3, 2, 6));
    }
}
