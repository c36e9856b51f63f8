// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

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
    /** More than one block has. */
    private static final int MANY = 70;

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
            DType dtype,
            Device device,
            long heads,
            int width,
            int queries,
            Function<Tensor, Attention.Options> options) {
        List<Tensor> in = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            long length = i % 3 == 0 ? queries : KEYS;
            // What is rounded to the narrow dtype, for both.
            Tensor x = random(i, 2, i % 3 == 0 ? 4 : heads, length, width).to(DType.BFLOAT16);
            in.add(x.to(dtype).to(device).detach().requiresGrad(i < 3));
        }
        Tensor mask =
                random(9, 2, 1, queries, KEYS).to(DType.BFLOAT16).to(dtype).to(device);
        Generator.global().seed(3);
        Tensor y = in.get(0).scaledDotProductAttention(in.get(1), in.get(2), options.apply(mask));
        Autograd.backward(y, in.get(3), Autograd.Graph.FREE);
        List<Tensor> out = new ArrayList<>(List.of(y));
        in.subList(0, 3).forEach(t -> out.add(Objects.requireNonNull(t.grad())));
        return out;
    }

    private static void same(String what, Function<Tensor, Attention.Options> options) {
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16)) {
            // Of 64 columns, which tensor cores take, and of 20.
            for (long heads : new long[] {2, 4}) {
                same(what, dtype, heads, dtype == DType.FLOAT32 ? 20 : 64, QUERIES, options);
            }
        }
    }

    private static void same(
            String what, DType dtype, long heads, int width, int queries, Function<Tensor, Attention.Options> options) {
        try (Scope scope = Scope.open()) {
            List<Tensor> expected = all(DType.FLOAT64, Device.CPU, heads, width, queries, options);
            List<Tensor> actual = all(dtype, Simulator.DEVICE, heads, width, queries, options);
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

    @Test
    void allAtOnce() {
        int[] widths = Boolean.getBoolean("merapi.tests.full") ? new int[] {32, 64, 128} : new int[] {64};
        for (int width : widths) { // each is a kernel of its own to compile
            for (boolean added : new boolean[] {false, true}) {
                DType dtype = added ? DType.BFLOAT16 : DType.FLOAT16;
                same(
                        "all",
                        dtype,
                        added ? 2 : 4,
                        width,
                        width == 64 ? MANY : QUERIES,
                        m -> Attention.options()
                                .mask(added ? m : m.gt(-0.5))
                                .dropout(0.3)
                                .causalFromEnd());
            }
        }
    }

    /** A query without keys, and NaN where nobody looks: no part of any result, as in plain Java. */
    @Test
    void whatIsHiddenHasNoPart() {
        double[] hidden = new double[MANY * MANY];
        for (int i = 0; i < hidden.length; i++) {
            int query = i / MANY;
            int key = i % MANY;
            boolean far = query == 9 && key > 9 || query == 40 && key != 41;
            hidden[i] = query == 3 || key == 5 && query != 9 || far ? Double.NEGATIVE_INFINITY : 0;
        }
        for (boolean added : new boolean[] {false, true}) {
            List<Tensor> results = new ArrayList<>();
            for (Device device : List.of(Device.CPU, Simulator.DEVICE)) {
                DType dtype = device.equals(Device.CPU) ? DType.FLOAT64 : DType.BFLOAT16;
                List<Tensor> in = new ArrayList<>();
                for (int i = 0; i < 4; i++) {
                    Tensor x = random(i, 1, i % 3 == 0 ? 2 : 1, MANY, 32);
                    if (i == 1 || i == 2) {
                        x.slice(2, 5, 6).fill_(Double.NaN);
                    }
                    x = x.to(DType.BFLOAT16).to(dtype).to(device);
                    in.add(x.detach().requiresGrad(i < 3));
                }
                Tensor mask = Tensor.of(hidden, 1, 1, MANY, MANY).to(dtype).to(device);
                Tensor y = in.get(0)
                        .scaledDotProductAttention(
                                in.get(1), in.get(2), Attention.options().mask(added ? mask : mask.eq(0)));
                Autograd.backward(y, in.get(3), Autograd.Graph.FREE);
                results.add(y);
                in.subList(0, 3).forEach(t -> results.add(Objects.requireNonNull(t.grad())));
            }
            for (int i = 0; i < 4; i++) {
                double[] want = results.get(i).toDoubleArray();
                double[] got = results.get(4 + i).toDoubleArray();
                int odd = 0;
                for (int e = 0; e < want.length; e++) {
                    assertEquals(want[e], got[e], 0.05, (added ? "added" : "bool") + ", output " + i + " at " + e);
                    odd += Double.isNaN(want[e]) ? 1 : 0;
                }
                assertTrue(odd > 0 && odd < want.length, i + ": " + odd);
            }
        }
    }
}
