// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.merapi.autograd.Autograd;
import dev.merapi.dispatch.Context;
import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.RandomOps;
import dev.merapi.random.Generator;
import dev.merapi.random.Philox;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.Arrays;
import java.util.Objects;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Random ops: the bits they are made of, their moments, and what they take from the generator. */
class RandomOpsTest {
    private static final long SEED = 0x1234_5678_9abcL;
    private final Generator generator = new Generator(SEED);

    @BeforeEach
    void ownGenerator() {
        Context.current().setGenerator(generator);
    }

    @AfterEach
    void giveBack() {
        Context.current().setGenerator(null);
    }

    @Test
    void philoxGivesTheKnownAnswers() {
        // Random123, kat_vectors: philox4x32 10, counter and key zero.
        int[] lanes = new int[4];
        Philox.block(0, 0, lanes);
        assertThat(lanes).containsExactly(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8);
    }

    @Test
    void uniformsAreTheLanesOfTheirBlocks() {
        int[] lanes = new int[4];
        float[] f = Tensor.rand(6).toFloatArray();
        assertThat(generator.offset()).isEqualTo(2);
        Philox.block(SEED, 1, lanes);
        assertThat(f[5]).isEqualTo((lanes[1] >>> 8) * 0x1p-24f);
        double[] d = Tensor.rand(Shape.of(3), 0, 1, DType.FLOAT64, Device.CPU).toDoubleArray();
        assertThat(generator.offset()).isEqualTo(4);
        Philox.block(SEED, 3, lanes);
        long bits = (long) lanes[0] << 32 | lanes[1] & 0xffffffffL;
        assertThat(d[2]).isEqualTo((bits >>> 11) * 0x1p-53);
        float[] h = Tensor.rand(Shape.of(4), 0, 1, DType.BFLOAT16, Device.CPU).toFloatArray();
        Philox.block(SEED, 4, lanes);
        assertThat(h[3]).isEqualTo((lanes[3] >>> 24) * 0x1p-8f);
    }

    @Test
    void aLongTensorBeginsAsAShortOne() {
        float[] all = Tensor.randn(1000).toFloatArray();
        generator.moveTo(new Generator.Position(SEED, 0));
        assertThat(Tensor.randn(10).toFloatArray()).containsExactly(Arrays.copyOf(all, 10));
        generator.moveTo(new Generator.Position(SEED, 0));
        assertThat(Tensor.zeros(20, 50).t().normal_(0, 1).flatten().toFloatArray())
                .containsExactly(all);
    }

    /** Whatever backend runs this: the same bits as the specification in Java. */
    @Test
    void everyNumberIsWhatPhiloxSays() {
        int n = 5003;
        float[] f = Tensor.randn(n).toFloatArray();
        double[] d = Tensor.randn(Shape.of(n), DType.FLOAT64, Device.CPU).toDoubleArray();
        long[] k = Tensor.randint(-7, 1000, n).toLongArray();
        long[] wide = Tensor.randint(-1L << 40, 1L << 40, n).toLongArray();
        float[] kept = Tensor.ones(n).dropout(0.4, true).toFloatArray();
        long at = 0;
        for (int i = 0; i < n; i++) {
            assertThat(f[i]).isEqualTo(Philox.normal(SEED, at, i));
        }
        at += Philox.blocks(n, false);
        for (int i = 0; i < n; i++) {
            assertThat(d[i]).isEqualTo(Philox.normalDouble(SEED, at, i));
        }
        at += Philox.blocks(n, true);
        for (int i = 0; i < n; i++) {
            assertThat(k[i]).isEqualTo(Philox.integer(Philox.lane(SEED, at, i), -7, 1007));
        }
        at += Philox.blocks(n, false);
        for (int i = 0; i < n; i++) {
            assertThat(wide[i]).isEqualTo(Philox.integer(Philox.bits(SEED, at, i), -1L << 40, 1L << 41));
        }
        at += Philox.blocks(n, true);
        for (int i = 0; i < n; i++) {
            boolean keep = Philox.keep(Philox.lane(SEED, at, i), Math.round(0.4 * 0x1p32));
            assertThat(kept[i]).isEqualTo(keep ? (float) (1 / 0.6) : 0);
        }
        assertThat(generator.offset()).isEqualTo(at + Philox.blocks(n, false));
    }

    @Test
    void moments() {
        int n = 40_000;
        double error = 4 / Math.sqrt(n); // four standard errors of a mean of deviation 1
        for (DType dtype : new DType[] {DType.FLOAT32, DType.FLOAT64}) {
            double[] z = Tensor.randn(Shape.of(n), dtype, Device.CPU).toDoubleArray();
            assertThat(moment(z, 1)).isCloseTo(0, within(error));
            assertThat(moment(z, 2)).isCloseTo(1, within(error * Math.sqrt(2)));
            assertThat(moment(z, 3)).isCloseTo(0, within(error * Math.sqrt(15)));
            assertThat(moment(z, 4)).isCloseTo(3, within(error * Math.sqrt(96)));
            double[] u = Tensor.rand(Shape.of(n), -1, 3, dtype, Device.CPU).toDoubleArray();
            assertThat(moment(u, 1)).isCloseTo(1, within(error * Math.sqrt(16 / 12.0)));
            assertThat(Arrays.stream(u)).allMatch(v -> v >= -1 && v < 3);
        }
        double kept = Tensor.zeros(n).bernoulli_(0.3).sum().item() / n;
        assertThat(kept).isCloseTo(0.3, within(error * Math.sqrt(0.21)));
        double[] k = Tensor.randint(-2, 3, n).toDoubleArray();
        assertThat(moment(k, 1)).isCloseTo(0, within(error * Math.sqrt(2)));
        assertThat(Arrays.stream(k).distinct().sorted().toArray()).containsExactly(-2, -1, 0, 1, 2);
    }

    private static double moment(double[] x, int power) {
        return Arrays.stream(x).map(v -> Math.pow(v, power)).average().orElseThrow();
    }

    @Test
    void integersFillTheirRange() {
        long[] wide = Tensor.randint(Long.MIN_VALUE, Long.MAX_VALUE, 100).toLongArray();
        assertThat(Arrays.stream(wide).filter(v -> v < 0).count()).isBetween(20L, 80L);
        assertThat(Tensor.randint(5, 6, 3).toLongArray()).containsOnly(5);
        assertThat(Tensor.randint(0, 256, Shape.of(50), DType.UINT8, Device.CPU).dtype())
                .isEqualTo(DType.UINT8);
        assertThatThrownBy(() -> Tensor.randint(3, 3, 2)).isInstanceOf(ShapeException.class);
        assertThatThrownBy(() -> Tensor.randint(0, 300, Shape.of(1), DType.UINT8, Device.CPU))
                .isInstanceOf(DTypeException.class)
                .hasMessageContaining("uint8");
    }

    @Test
    void permutationsHoldEachNumberOnce() {
        long[] p = Tensor.randperm(100).toLongArray();
        assertThat(p).isNotEqualTo(Tensor.arange(100).toLongArray());
        assertThat(Arrays.stream(p).sorted().toArray())
                .containsExactly(Tensor.arange(100).toLongArray());
        assertThat(Tensor.randperm(0).numel()).isZero();
        assertThatThrownBy(() -> Tensor.randperm(-1)).isInstanceOf(ShapeException.class);
    }

    @Test
    void dropoutScalesWhatItKeepsAndPassesTheSameGradient() {
        Tensor x = Tensor.ones(DType.FLOAT64, 50, 20).requiresGrad(true);
        Tensor y = x.dropout(0.25, true);
        assertThat(generator.offset()).isEqualTo(250);
        assertThat(Arrays.stream(y.toDoubleArray())).allMatch(v -> v == 0 || v == 1 / 0.75);
        assertThat(y.sum().item() / 1000).isCloseTo(1, within(4 * Math.sqrt(1 / 3.0 / 1000)));
        Autograd.backward(y.sum());
        assertThat(Objects.requireNonNull(x.grad()).toDoubleArray()).containsExactly(y.toDoubleArray());
    }

    @Test
    void dropoutAtTheEdges() {
        Tensor x = Tensor.of(1.0, Double.POSITIVE_INFINITY).requiresGrad(true);
        assertThat(x.dropout(0.5, false)).isSameAs(x);
        assertThat(x.dropout(0, true)).isSameAs(x);
        Tensor gone = x.dropout(1, true);
        assertThat(gone.toDoubleArray()).containsExactly(0, 0);
        Autograd.backward(gone.sum());
        assertThat(Objects.requireNonNull(x.grad()).toDoubleArray()).containsExactly(0, 0);
        assertThatThrownBy(() -> x.dropout(1.5, true))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("1.5");
        assertThatThrownBy(() -> x.dropout(Double.NaN, true)).isInstanceOf(ShapeException.class);
        assertThatThrownBy(() -> Tensor.of(1, 2).dropout(0.5, true)).isInstanceOf(DTypeException.class);
    }

    @Test
    void theOffsetMayBeATensor() {
        Tensor a = Tensor.zeros(8);
        Tensor b = Tensor.zeros(8);
        RandomOps.UNIFORM.call(new RandomOps.Uniform(a, 0, 1, SEED, 7, null));
        RandomOps.UNIFORM.call(new RandomOps.Uniform(b, 0, 1, SEED, 4, Tensor.scalar(3L)));
        assertThat(b.toFloatArray()).containsExactly(a.toFloatArray());
    }
}
