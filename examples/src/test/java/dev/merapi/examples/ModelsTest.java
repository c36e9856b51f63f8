// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.autograd.Autograd;
import dev.merapi.nn.Block;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;

/** Models with the names of others give PyTorch's results, to 1e-4 of the largest; numbers and constants are those of {@code models.py}. */
class ModelsTest {
    /** A state as a file of PyTorch's would have it. */
    private static StateDict state(Block model, String prefix) {
        Map<String, Tensor> floating = new TreeMap<>();
        StateDict all = new StateDict();
        model.stateDict().all(Tensor.class).forEach((name, t) -> {
            if (t.dtype().isFloating()) {
                floating.put(name, t);
            } else {
                all.put(prefix + name, t.detach().copy());
            }
        });
        int k = 0;
        for (Map.Entry<String, Tensor> e : floating.entrySet()) {
            Tensor t = e.getValue();
            Tensor s = Tensor.arange(0, t.numel(), 1, DType.FLOAT64, t.device())
                    .mul(0.7)
                    .add(k++)
                    .sin()
                    .view(t.shape().toArray());
            boolean positive = e.getKey().endsWith("running_var") || e.getKey().endsWith("weight");
            double fan = (double) t.numel() / t.size(0);
            Tensor value = t.rank() > 1
                    ? s.mul(Math.sqrt(2 / fan))
                    : positive ? s.square().mul(0.5).add(1) : s.mul(0.1);
            all.put(prefix + e.getKey(), value);
        }
        return all;
    }

    private static void near(Tensor y, double... expected) {
        double size = Math.max(1, Arrays.stream(expected).map(Math::abs).max().orElseThrow());
        assertThat(y.to(DType.FLOAT64).toDoubleArray()).containsExactly(expected, Offset.offset(1e-4 * size));
    }

    @Test
    void resNet18() {
        ResNet18 net = new ResNet18(4, 3);
        net.to(DType.FLOAT64);
        net.loadStateDict(state(net, ""));
        Tensor images = Tensor.arange(0, 2 * 3 * 32 * 32, 1, DType.FLOAT64, dev.merapi.types.Device.CPU)
                .mul(0.37)
                .sin()
                .view(2, 3, 32, 32);
        net.eval();
        near(
                Autograd.noGrad(() -> net.forward(images)),
                new double[] {538.503581, -751.190158, 839.862324, 537.303349, -747.637847, 834.543511});
        net.train();
        near(
                Autograd.noGrad(() -> net.forward(images)),
                new double[] {0.189767, -0.919018, 1.311478, -0.050728, 0.026667, -0.183507});
        net.eval();
        near(
                Autograd.noGrad(() -> net.forward(images)),
                new double[] {181.231783, -273.103453, 319.770389, 180.581248, -271.562770, 317.593528});
    }

    @Test
    void gpt2() {
        Gpt2 gpt = new Gpt2(new Gpt.Shape(11, 6, 2, 8, 2));
        gpt.to(DType.FLOAT64);
        StateDict theirs = state(gpt, "transformer.").with("lm_head.weight", Tensor.zeros(11, 8));
        gpt.loadStateDict(theirs.renamed(Gpt2::name));
        Tensor ids = Tensor.of(new long[] {3, 1, 4, 1, 5, 9, 2, 6, 5, 3}, 2, 5);
        near(Autograd.noGrad(() -> gpt.forward(ids)).select(1, 4), new double[] {
            -1.195520, -3.199376, -3.767133, -2.643944, -0.333973, 2.125908, 3.631537, 3.507084, 1.808412, -0.701998,
            -2.897304, -1.220575, -3.210077, -3.758677, -2.620126, -0.305484, 2.146280, 3.634647, 3.491537, 1.781186,
            -0.728682, -2.911468
        });
    }
}
