// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.cuda.Simulator;
import dev.merapi.ops.code.Collapsed;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Copies of permuted tensors: the same elements as on the CPU. */
@Tag("kernels")
class TransposeTest {
    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    private static Tensor random(DType dtype, long... shape) {
        return PointwiseTest.random(dtype, 1, shape);
    }

    private interface Form {
        Tensor of(Tensor t);
    }

    private static void contiguous(Tensor t, Form view) {
        Tensor expected = view.of(t).contiguous();
        Tensor actual = view.of(t.to(Simulator.DEVICE)).contiguous();
        PointwiseTest.exact(expected.describe(), expected, actual);
    }

    private static boolean inTiles(Tensor y, Tensor x) {
        return TransposeKernel.of(Collapsed.of(y.shape(), new Tensor[] {y, x}), y, x) != null;
    }

    @ParameterizedTest
    @EnumSource(DType.class)
    void permuted(DType dtype) {
        try (Scope scope = Scope.open()) {
            contiguous(random(dtype, 33, 65), Tensor::t);
            contiguous(random(dtype, 130, 8), Tensor::t);
            contiguous(random(dtype, 2, 9, 70, 3), t -> t.permute(0, 2, 3, 1));
            contiguous(random(dtype, 3, 2, 4, 2, 17, 11), t -> t.permute(5, 0, 3, 1, 2, 4));
            contiguous(
                    random(dtype, 40, 41),
                    t -> t.slice(0, 3, 38).slice(1, 5, 40).t());
            contiguous(random(dtype, 1, 20, 33), t -> t.expand(3, 20, 33).transpose(1, 2));
        }
    }

    @ParameterizedTest
    @EnumSource(DType.class)
    void intoWhatLiesOtherwise(DType dtype) {
        try (Scope scope = Scope.open()) {
            Tensor x = random(dtype, 2, 35, 67);
            Tensor here = random(dtype, 70, 40, 3);
            Tensor there = here.to(Simulator.DEVICE);
            for (Tensor t : new Tensor[] {here, there}) {
                t.slice(0, 2, 69)
                        .slice(1, 1, 36)
                        .slice(2, 1, 3)
                        .permute(2, 1, 0)
                        .copy_(x.to(t.device()));
            }
            PointwiseTest.exact("copy_ " + dtype, here, there);
        }
    }

    @Test
    void onlyWhereUnitStridesDiffer() {
        Tensor x = random(DType.FLOAT32, 2, 16, 9, 32).to(Simulator.DEVICE);
        Tensor heads = x.transpose(1, 2);
        Tensor channels = x.permute(0, 3, 1, 2);
        assertFalse(inTiles(heads.copy(), heads));
        assertTrue(inTiles(channels.copy(), channels));
        assertFalse(inTiles(channels.to(DType.FLOAT64), channels));
        Tensor three = random(DType.FLOAT32, 100, 3).to(Simulator.DEVICE).t();
        assertFalse(inTiles(three.copy(), three));
    }
}
