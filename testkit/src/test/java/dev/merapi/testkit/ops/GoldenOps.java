// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import dev.merapi.ops.PadMode;
import dev.merapi.ops.Reductions;
import dev.merapi.ops.Rounding;
import dev.merapi.ops.Scans;
import dev.merapi.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/** The calls of {@code ops.py}, by the same names. */
final class GoldenOps {
    private static final int[] ALL = {};
    private static final int[] SECOND = {1};

    private final Map<String, Function<List<Tensor>, List<Tensor>>> calls = new LinkedHashMap<>();

    private GoldenOps() {}

    static Map<String, Function<List<Tensor>, List<Tensor>>> all() {
        GoldenOps all = new GoldenOps();
        all.pointwise();
        all.reductions();
        all.borders();
        return all.calls;
    }

    private interface Binary {
        Tensor apply(Tensor x, Tensor y);
    }

    private void one(String name, Function<Tensor, Tensor> f) {
        calls.put(name, in -> List.of(f.apply(in.get(0))));
    }

    private void two(String name, Binary f) {
        calls.put(name, in -> List.of(f.apply(in.get(0), in.get(1))));
    }

    private void several(String name, Function<Tensor, List<Tensor>> f) {
        calls.put(name, in -> f.apply(in.get(0)));
    }

    private void pointwise() {
        one("frac", Tensor::frac);
        one("deg2rad", Tensor::deg2rad);
        one("rad2deg", Tensor::rad2deg);
        one("sinc", Tensor::sinc);
        one("logit", Tensor::logit);
        one("logit eps", x -> x.logit(0.2));
        one("sgn", Tensor::sgn);
        one("floor", Tensor::floor);
        one("ceil", Tensor::ceil);
        one("round", Tensor::round);
        one("trunc", Tensor::trunc);
        one("round decimals", x -> x.round(2));
        one("round tens", x -> x.round(-1));
        one("nan_to_num", x -> x.div(x.relu()).nanToNum(0.5, 2.0, -3.0));
        one("relu6", Tensor::relu6);
        one("hardtanh", x -> x.hardtanh(-0.5, 1.0));
        one("selu", Tensor::selu);
        one("celu", x -> x.celu(1.5));
        one("softsign", Tensor::softsign);
        one("threshold", x -> x.threshold(0.3, -1.0));
        one("hardshrink", x -> x.hardshrink(0.7));
        one("softshrink", x -> x.softshrink(0.7));
        one("tanhshrink", Tensor::tanhshrink);
        one("softplus", x -> x.softplus(2.0, 1.5));
        one("softmin", x -> x.softmin(1));
        one("glu", x -> x.glu(1));
        two("prelu", Tensor::prelu);
        two("prelu one", Tensor::prelu);
        two("hypot", Tensor::hypot);
        two("xlogy", Tensor::xlogy);
        two("logaddexp", Tensor::logaddexp);
        two("logaddexp2", Tensor::logaddexp2);
        one("heaviside", x -> x.detach().heaviside(Tensor.of(new double[] {0.5})));
        two("div floor", (x, y) -> x.div(y, Rounding.FLOOR));
        two("div trunc", (x, y) -> x.div(y, Rounding.TRUNC));
    }

    private static Tensor holes(Tensor x) {
        return x.maskedFill(x.gt(1.0), Double.NaN);
    }

    private void reductions() {
        one("nansum", x -> holes(x).nansum(1));
        one("nanmean", x -> holes(x).nanmean(SECOND, true));
        several("var_mean", x -> of(x.varMean(SECOND, 0.5, false)));
        several("std_mean", x -> of(x.stdMean(ALL, 1, true)));
        several("aminmax", x -> {
            Reductions.MinMax r = x.aminmax(SECOND, false);
            return List.of(r.min(), r.max());
        });
        one("cumprod", x -> x.cumprod(1));
        one("cumprod one zero", x -> Tensor.where(x.gt(1.9), x.mul(0.0), x).cumprod(1));
        one("cumprod zeros", x -> x.relu().cumprod(0));
        several("cummax", x -> of(x.cummax(1)));
        several("cummin", x -> of(x.cummin(0)));
        one("logcumsumexp", x -> x.logCumSumExp(1));
    }

    private static List<Tensor> of(Reductions.Spread r) {
        return List.of(r.spread(), r.mean());
    }

    private static List<Tensor> of(Scans.Extremes r) {
        return List.of(r.values(), r.indices());
    }

    private void borders() {
        one("pad reflect", x -> x.pad(PadMode.REFLECT, 2, 1, 1, 0));
        one("pad replicate", x -> x.pad(PadMode.REPLICATE, 2, 1, 1, 0));
        one("pad circular", x -> x.pad(PadMode.CIRCULAR, 2, 1, 1, 0));
    }
}
