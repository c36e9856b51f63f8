// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.Merapi;
import dev.merapi.backend.Backends;
import dev.merapi.ops.Optimizers;
import dev.merapi.reference.JavaBackend;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Native optimiser steps against those in plain Java, on several tensors of odd sizes. */
class OptimizerKernelsTest {
    private static final Device JAVA = Device.of(DeviceType.register("optimizers-java"), 0);
    private static final long[] SIZES = {3, 40_001, 0, 17};

    @BeforeAll
    static void device() {
        Backends.register(new JavaBackend(DeviceType.register("optimizers-java")));
    }

    private static List<Tensor> random(DType dtype, double low, double high) {
        List<Tensor> all = new ArrayList<>();
        for (long n : SIZES) {
            all.add(Tensor.rand(Shape.of(n), low, high, DType.FLOAT32, Device.CPU)
                    .to(dtype));
        }
        return all;
    }

    private static List<Tensor> there(List<Tensor> all) {
        return all.stream().map(t -> t.copy().to(JAVA)).toList();
    }

    private static void close(String what, List<Tensor> native_, List<Tensor> java, double relative) {
        for (int k = 0; k < java.size(); k++) {
            double[] a = native_.get(k).to(DType.FLOAT64).toDoubleArray();
            double[] b = java.get(k).to(DType.FLOAT64).toDoubleArray();
            for (int i = 0; i < a.length; i++) {
                assertThat(Math.abs(a[i] - b[i]))
                        .as(what + " " + k + "[" + i + "] = " + b[i])
                        .isLessThanOrEqualTo(relative * Math.max(0.05, Math.abs(b[i])));
            }
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"FLOAT16", "BFLOAT16", "FLOAT32", "FLOAT64"})
    void stepsAgreeWithPlainJavaWithAndWithoutMasters(DType dtype) {
        Merapi.seed(5);
        DType compute = dtype.computeType();
        for (boolean masters : new boolean[] {true, false}) {
            List<Tensor> p = random(dtype, -1, 1);
            List<Tensor> m = random(compute, -1, 1);
            List<Tensor> v = random(compute, 0, 1);
            List<Tensor> w =
                    masters ? p.stream().map(t -> t.to(compute).mul(1.001)).toList() : List.of();
            List<Tensor> p2 = there(p);
            List<Tensor> m2 = there(m);
            List<Tensor> v2 = there(v);
            List<Tensor> w2 = there(w);
            for (int step = 1; step <= 3; step++) {
                List<Tensor> g = random(dtype, -1, 1);
                adam(p, g, m, v, w, step, Device.CPU);
                adam(p2, there(g), m2, v2, w2, step, JAVA);
                sgd(p, g, m, w, step, Device.CPU);
                sgd(p2, there(g), m2, w2, step, JAVA);
            }
            // Without masters a parameter that rounds to the other side shows in what comes after.
            double exact = 64 * compute.epsilon();
            double rounded = 8 * dtype.epsilon();
            close("m", m, m2, masters ? exact : rounded + exact);
            close("v", v, v2, masters ? exact : rounded + exact);
            close("master", w, w2, exact);
            close("parameter", p, p2, rounded + exact);
            for (int k = 0; k < w.size(); k++) {
                assertThat(p.get(k).ne(w.get(k).to(dtype)).sum().item()).isZero();
            }
        }
    }

    /** How many steps parameters have had: every third one more than the others. */
    private static List<Tensor> had(long steps, int parameters, Device device) {
        return java.util.stream.IntStream.range(0, parameters)
                .mapToObj(i -> Tensor.scalar(steps + (i % 3 == 1 ? 1 : 0)).to(device))
                .toList();
    }

    private static void adam(
            List<Tensor> p, List<Tensor> g, List<Tensor> m, List<Tensor> v, List<Tensor> w, int step, Device device) {
        Tensor scale = Tensor.scalar(0.5).to(device);
        Optimizers.ADAM.call(new Optimizers.Adam(
                p,
                g,
                m,
                v,
                w,
                had(step - 1, p.size(), device),
                Tensor.scalar(0.1).to(device),
                scale,
                null,
                0.9,
                0.99,
                1e-8,
                0.1,
                step != 2));
    }

    private static void sgd(List<Tensor> p, List<Tensor> g, List<Tensor> m, List<Tensor> w, int step, Device device) {
        Tensor lr = Tensor.scalar(0.1).to(device);
        List<Tensor> had = had(step - 1, p.size(), device);
        Optimizers.SGD.call(new Optimizers.Sgd(p, g, m, w, had, lr, null, null, 0.9, 0, step == 2, 0.01));
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"FLOAT16", "BFLOAT16", "FLOAT32", "FLOAT64"})
    void aNumberThatIsNotFiniteIsFoundAnywhere(DType dtype) {
        List<Tensor> g = random(dtype, -1, 1);
        g.get(1).at(5).fill_(dtype == DType.FLOAT16 ? 65504 : dtype == DType.FLOAT64 ? 1e308 : 3e38);
        assertThat(nonFinite(g)).isZero();
        for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY}) {
            for (Tensor at : List.of(
                    g.get(0).at(0),
                    g.get(1).at(40_000),
                    g.get(1).at(16_384),
                    g.get(3).at(16))) {
                double before = at.item();
                at.fill_(bad);
                assertThat(nonFinite(g)).isEqualTo(1);
                at.fill_(before);
            }
        }
    }

    private static double nonFinite(List<Tensor> grads) {
        return Optimizers.NON_FINITE.call(new Optimizers.NonFinite(grads)).item();
    }

    @Test
    void theseAreTheNativeKernels() {
        assertThat(StructuredKernels.of(Optimizers.ADAM.definition(), DType.BFLOAT16))
                .isNotNull();
        assertThat(StructuredKernels.of(Optimizers.NON_FINITE.definition(), DType.FLOAT16))
                .isNotNull();
    }
}
