// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.ops.RandomOps;
import dev.merapi.random.Philox;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import org.jspecify.annotations.Nullable;

/** Random ops in plain Java; bit for bit what the native kernels give. */
public final class RandomReference {
    private RandomReference() {}

    static long offset(long offset, @Nullable Tensor base) {
        return base == null ? offset : offset + Elements.of(base).getLong(0);
    }

    public static void uniform(RandomOps.Uniform a, Tensor out) {
        Elements e = Elements.of(out);
        long offset = offset(a.offset(), a.base());
        if (e.dtype() == DType.FLOAT64) {
            double span = a.high() - a.low();
            Philox.bits(
                    a.seed(), offset, e.numel(), (i, bits) -> e.setDouble(i, a.low() + span * Philox.uniform(bits)));
            return;
        }
        float low = (float) a.low();
        float span = (float) (a.high() - a.low());
        Philox.lanes(a.seed(), offset, e.numel(), (i, lane) -> {
            float u = switch (e.dtype()) {
                case FLOAT16 -> Philox.uniformFloat16(lane);
                case BFLOAT16 -> Philox.uniformBFloat16(lane);
                default -> Philox.uniform(lane);
            };
            e.setDouble(i, low + span * u);
        });
    }

    public static void normal(RandomOps.Normal a, Tensor out) {
        Elements e = Elements.of(out);
        long offset = offset(a.offset(), a.base());
        if (e.dtype() == DType.FLOAT64) {
            Philox.normalsDouble(a.seed(), offset, e.numel(), (i, z) -> e.setDouble(i, a.mean() + a.deviation() * z));
            return;
        }
        float mean = (float) a.mean();
        float deviation = (float) a.deviation();
        Philox.normals(a.seed(), offset, e.numel(), (i, z) -> e.setDouble(i, mean + deviation * z));
    }

    public static void integers(RandomOps.Integers a, Tensor out) {
        Elements e = Elements.of(out);
        long offset = offset(a.offset(), a.base());
        if (RandomOps.isWide(a.range())) {
            Philox.bits(
                    a.seed(), offset, e.numel(), (i, bits) -> e.setLong(i, Philox.integer(bits, a.low(), a.range())));
        } else {
            Philox.lanes(
                    a.seed(), offset, e.numel(), (i, lane) -> e.setLong(i, Philox.integer(lane, a.low(), a.range())));
        }
    }

    public static void bernoulli(RandomOps.Bernoulli a, Tensor out) {
        Elements e = Elements.of(out);
        long threshold = RandomOps.threshold(1 - a.p());
        Philox.lanes(
                a.seed(),
                offset(a.offset(), a.base()),
                e.numel(),
                (i, lane) -> e.setLong(i, Philox.keep(lane, threshold) ? 1 : 0));
    }

    public static void dropout(RandomOps.Dropout a, RandomOps.Dropped out) {
        Elements x = Elements.of(a.x());
        Elements y = Elements.of(out.output());
        Elements mask = Elements.of(out.mask());
        long threshold = RandomOps.threshold(a.p());
        boolean wide = y.dtype() == DType.FLOAT64;
        double scale = RandomOps.scale(a.p());
        Philox.lanes(a.seed(), offset(a.offset(), a.base()), y.numel(), (i, lane) -> {
            boolean kept = Philox.keep(lane, threshold);
            mask.setLong(i, kept ? 1 : 0);
            double value = wide ? x.getDouble(i) * scale : (float) x.getDouble(i) * (float) scale;
            y.setDouble(i, kept ? value : 0);
        });
    }

    public static void permutation(RandomOps.Randperm a, Tensor out) {
        Elements e = Elements.of(out);
        int n = Math.toIntExact(a.n());
        long[] order = new long[n];
        for (int i = 0; i < n; i++) {
            order[i] = i;
        }
        long[] picks = new long[n];
        Philox.bits(a.seed(), a.offset(), n, (i, bits) -> picks[(int) i] = Philox.integer(bits, 0, i + 1));
        for (int i = n - 1; i > 0; i--) {
            int k = (int) picks[i];
            long swapped = order[i];
            order[i] = order[k];
            order[k] = swapped;
        }
        for (int i = 0; i < n; i++) {
            e.setLong(i, order[i]);
        }
    }
}
