// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.merapi.autograd.Autograd;
import dev.merapi.cuda.Simulator;
import dev.merapi.ops.Attention;
import dev.merapi.random.Generator;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

/** Masks, dropout and grouped heads on the simulator, against plain Java in float64. */
class AttentionChoiceTest {
    private static final int QUERIES = 19;
    private static final int KEYS = 133;

    private static Tensor random(int seed, long... shape) {
        long count = 1;
        for (long n : shape) {
            count *= n;
        }
        return Tensor.of(new Random(seed).doubles(count, -1, 1).toArray(), shape);
    }

    /** The result and the gradients of q, k, v. */
    private static List<Tensor> all(
            DType dtype, Device device, long heads, int width, Function<Tensor, Attention.Options> options) {
        List<Tensor> in = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            long length = i % 3 == 0 ? QUERIES : KEYS;
            // What is rounded to the narrow dtype, for both.
            Tensor x = random(i, 2, i % 3 == 0 ? 4 : heads, length, width).to(DType.BFLOAT16);
            in.add(x.to(dtype).to(device).detach().requiresGrad(i < 3));
        }
        Tensor mask =
                random(9, 2, 1, QUERIES, KEYS).to(DType.BFLOAT16).to(dtype).to(device);
        Generator.global().seed(3);
        Tensor y = in.get(0).scaledDotProductAttention(in.get(1), in.get(2), options.apply(mask));
        Autograd.backward(y, in.get(3), Autograd.Graph.FREE);
        List<Tensor> out = new ArrayList<>(List.of(y));
        in.subList(0, 3).forEach(t -> out.add(Objects.requireNonNull(t.grad())));
        return out;
    }

    private static void same(String what, Function<Tensor, Attention.Options> options) {
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16)) {
            // Of 64 columns, which tensor cores take where nothing is masked or dropped, and of 20.
            int width = dtype == DType.FLOAT32 ? 20 : 64;
            for (long heads : new long[] {2, 4}) {
                try (Scope scope = Scope.open()) {
                    List<Tensor> expected = all(DType.FLOAT64, Device.CPU, heads, width, options);
                    List<Tensor> actual = all(dtype, Simulator.DEVICE, heads, width, options);
                    for (int i = 0; i < 4; i++) {
                        double[] want = expected.get(i).toDoubleArray();
                        double[] got = actual.get(i).toDoubleArray();
                        double largest = 0;
                        for (double v : want) {
                            largest = Math.max(largest, Math.abs(v));
                        }
                        double bound = largest * 4 * dtype.epsilon() * (dtype == DType.FLOAT32 ? 16 : 1);
                        String name = what + " " + dtype + ", " + heads + " heads of " + width + ", output " + i;
                        for (int e = 0; e < want.length; e++) {
                            assertEquals(want[e], got[e], bound, name + " at " + e);
                        }
                    }
                }
            }
        }
    }

    @Test
    void queriesAndKeysOfDifferentNumbers() {
        same("causal", m -> Attention.options().causal());
        same("causal from the end", m -> Attention.options().causalFromEnd());
    }

    @Test
    void masks() {
        same("added", m -> Attention.options().mask(m));
        same("pairs", m -> Attention.options().mask(m.gt(0.3)).causalFromEnd());
        same("keys", m -> Attention.options().mask(m.slice(2, 0, 1).gt(0)));
    }

    @Test
    void dropout() {
        same("dropout", m -> Attention.options().dropout(0.4).causal());
        same("mask and dropout", m -> Attention.options().mask(m.gt(0)).dropout(0.25));
    }
}
