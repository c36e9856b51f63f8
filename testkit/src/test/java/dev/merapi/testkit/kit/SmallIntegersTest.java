// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.kit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.DTypeException;
import dev.merapi.ops.Arithmetic;
import dev.merapi.ops.Pointwise;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.testkit.SmallIntegersContract;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Small integers on the CPU, and what all dtypes promote to. */
class SmallIntegersTest extends SmallIntegersContract {
    @Override
    protected Device device() {
        return Device.CPU;
    }

    private static List<DType> row(String line) {
        return Arrays.stream(line.split(" = ")[1].split(" "))
                .map(name -> Arrays.stream(DType.values())
                        .filter(d -> d.shortName().equals(name))
                        .findFirst()
                        .orElseThrow())
                .toList();
    }

    private static List<List<DType>> rows(String what) throws IOException {
        return lines().stream()
                .filter(l -> l.startsWith(what + " "))
                .map(SmallIntegersTest::row)
                .toList();
    }

    @Test
    void allPairsPromoteAsInPyTorch() throws IOException {
        List<DType> order = rows("dtypes").get(0);
        assertThat(order).containsExactlyInAnyOrder(DType.values());
        List<List<DType>> table = rows("promote");
        for (int i = 0; i < order.size(); i++) {
            for (int k = 0; k < order.size(); k++) {
                DType a = order.get(i);
                DType b = order.get(k);
                assertThat(DType.promote(a, b))
                        .as(a + " with " + b)
                        .isEqualTo(table.get(i).get(k));
                for (DType c : order) {
                    assertThat(DType.promote(DType.promote(a, b), c))
                            .as("in any order: " + a + ", " + b + ", " + c)
                            .isEqualTo(DType.promote(a, DType.promote(b, c)));
                }
            }
        }
    }

    @Test
    void scalarsAndTensorsOfRank0CountByTheirCategory() throws IOException {
        List<DType> order = rows("dtypes").get(0);
        List<List<DType>> table = rows("scalars");
        try (Scope scope = Scope.open()) {
            for (int i = 0; i < order.size(); i++) {
                DType dtype = order.get(i);
                Tensor x = Tensor.ones(Shape.of(2), dtype, Device.CPU);
                List<DType> got = new ArrayList<>();
                got.add(x.add(3).dtype());
                got.add(x.add(2.5).dtype());
                Tensor one = Tensor.scalar(1, dtype);
                for (DType d : order) {
                    Tensor y = Tensor.ones(Shape.of(2), d, Device.CPU);
                    got.add(y.add(one).dtype());
                    assertThat(one.add(y).dtype())
                            .as(one + " with " + d)
                            .isEqualTo(y.add(one).dtype());
                }
                assertThat(got).as(dtype.toString()).isEqualTo(table.get(i));
            }
        }
    }

    @Test
    void numbersThatDoNotFitAreRefused() {
        Tensor bytes = Tensor.of(new byte[] {1, 2}, DType.INT8, 2);
        assertThat(bytes.add(-128).toByteArray()).containsExactly(-127, -126);
        for (int number : new int[] {128, -129}) {
            assertThatThrownBy(() -> bytes.add(number))
                    .isInstanceOf(DTypeException.class)
                    .hasMessageContaining("s = " + number + " does not fit into int8");
        }
        assertThat(bytes.lt(1000).toLongArray()).as("compared as it is").containsExactly(1, 1);
        assertThat(bytes.eq(257).toLongArray()).containsExactly(0, 0);
        assertThatThrownBy(() -> Tensor.of((short) 1).mul(40000)).hasMessageContaining("does not fit into int16");
        assertThatThrownBy(() -> Tensor.randint(-129, 3, Shape.of(2), DType.INT8, Device.CPU))
                .isInstanceOf(DTypeException.class)
                .hasMessageContaining("int8 cannot hold");
        assertThatThrownBy(() -> Tensor.of(new byte[2], DType.INT16, 2))
                .isInstanceOf(DTypeException.class)
                .hasMessageContaining("bytes are no int16");
    }

    @Test
    void theyArePrintedAndCompiledAsIntegers() {
        assertThat(Tensor.of(new byte[] {-1, 127}, DType.INT8, 2).toString()).contains("-1", "127", "int8");
        assertThat(Tensor.nested(new short[][] {{-3}, {4}}).toString()).contains("-3", "int16");
        var op = Pointwise.define(
                "test::of_bytes", (x, y) -> x.mul(y).add(x.neg()).abs());
        Tensor x = Tensor.of(new byte[] {-128, 100}, DType.INT8, 2);
        byte[] expected = new byte[2];
        for (int i = 0; i < 2; i++) {
            byte v = i == 0 ? (byte) -128 : 100;
            expected[i] = (byte) Math.abs((byte) ((byte) (v * v) + (byte) -v));
        }
        assertThat(op.call(x, x).toByteArray()).as("wraps at each step").isEqualTo(expected);
        assertThat(Arithmetic.ADD.call(x, Tensor.of((short) 1)).dtype()).isEqualTo(DType.INT16);
    }

    /** A dtype beyond the eighth does not change what its neighbours are taken for. */
    @Test
    void manyOperandsOfSmallDtypes() {
        try (Scope scope = Scope.open()) {
            for (int n : new int[] {8, 16, 17, 24}) {
                var op = Pointwise.define("test::bytes" + n, n, 0, x -> {
                    var sum = x.get(0);
                    for (int i = 1; i < n; i++) {
                        sum = sum.add(x.get(i));
                    }
                    return sum;
                });
                for (int i = 0; i < n; i++) {
                    List<Tensor> x = new ArrayList<>();
                    for (int k = 0; k < n; k++) {
                        x.add(Tensor.of(new byte[] {100}, DType.INT8, 1));
                    }
                    assertThat(op.call(x, List.of()).toByteArray()).containsExactly((byte) (n * 100));
                    x.set(i, Tensor.of((short) 1000));
                    Tensor y = op.call(x, List.of());
                    assertThat(y.dtype()).as(n + " operands, int16 at " + i).isEqualTo(DType.INT16);
                }
            }
        }
    }
}
