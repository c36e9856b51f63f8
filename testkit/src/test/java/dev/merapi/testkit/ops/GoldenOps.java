// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import dev.merapi.ops.BatchNorm;
import dev.merapi.ops.ChannelNorms;
import dev.merapi.ops.Convolution;
import dev.merapi.ops.GridPadding;
import dev.merapi.ops.Images;
import dev.merapi.ops.Interpolation;
import dev.merapi.ops.PadMode;
import dev.merapi.ops.Pooling;
import dev.merapi.ops.QuantileInterpolation;
import dev.merapi.ops.Reductions;
import dev.merapi.ops.Rounding;
import dev.merapi.ops.Scans;
import dev.merapi.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
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
        all.convolutions();
        all.pools();
        all.images();
        all.norms();
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
        quantiles();
    }

    private void quantiles() {
        Tensor q = Tensor.of(0.0, 0.2, 0.5, 0.75, 1.0);
        one("quantile all", x -> x.quantile(0.3));
        one("quantile keep", x -> x.quantile(0.6, 0, true));
        one("quantile nan", x -> holes(x).quantile(0.6, 1, false));
        for (QuantileInterpolation how : QuantileInterpolation.values()) {
            String name = how.toString().toLowerCase(Locale.ROOT);
            one("quantile " + name, x -> x.quantile(q, 1, false, how));
            one("quantile keep " + name, x -> x.quantile(q, 0, true, how));
            one("nanquantile " + name, x -> holes(x).nanQuantile(q, 1, false, how));
        }
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

    private interface Ternary {
        Tensor apply(Tensor x, Tensor y, Tensor z);
    }

    private void three(String name, Ternary f) {
        calls.put(name, in -> List.of(f.apply(in.get(0), in.get(1), in.get(2))));
    }

    private static long[] of(long... numbers) {
        return numbers;
    }

    private void convolutions() {
        three("conv1d", (x, w, b) -> Convolution.conv1d(x, w, b, 2, 1, 2, 1));
        two("conv2d", (x, w) -> Convolution.conv2d(x, w, null, of(2, 1), of(1, 0), of(1, 2), 2));
        three("conv3d", (x, w, b) -> Convolution.conv3d(x, w, b, of(1, 2, 1), of(1, 0, 1), of(2, 1, 1), 1));
        two("conv3d groups", (x, w) -> Convolution.conv3d(x, w, null, of(1, 1, 1), of(0, 0, 0), of(1, 1, 1), 2));
        two("conv1d same", (x, w) -> Convolution.convSame(x, w, null, of(1), 1));
        two("conv2d same", (x, w) -> Convolution.convSame(x, w, null, of(1, 2), 1));
        three("conv_transpose1d", (x, w, b) -> Convolution.convTranspose1d(x, w, b, 3, 1, 2, 1, 1));
        three(
                "conv_transpose2d",
                (x, w, b) -> Convolution.convTranspose2d(x, w, b, of(2, 1), of(1, 0), of(1, 0), 2, of(1, 2)));
        three(
                "conv_transpose3d",
                (x, w, b) ->
                        Convolution.convTranspose3d(x, w, b, of(2, 1, 1), of(1, 0, 1), of(1, 0, 0), 1, of(1, 1, 2)));
    }

    private static List<Tensor> of(Pooling.MaxPoolResult r) {
        return List.of(r.y(), r.indices());
    }

    private void pools() {
        several("max_pool1d", x -> of(Pooling.maxPool(x, of(3), of(2), of(1), of(1), true)));
        several("max_pool2d", x -> of(Pooling.maxPool(x, of(2, 3), of(2, 1), of(1, 0), of(1, 2), true)));
        several("max_pool3d", x -> of(Pooling.maxPool(x, of(2, 2, 1), of(1, 2, 2), of(1, 0, 0), of(1, 1, 1), true)));
        one("avg_pool1d", x -> Pooling.avgPool(x, of(3), of(2), of(1), true, false));
        one("avg_pool2d", x -> Pooling.avgPool(x, of(2, 3), of(2, 2), of(1, 1), true, true));
        one("avg_pool3d", x -> Pooling.avgPool(x, of(2, 2, 1), of(1, 2, 2), of(1, 0, 0), true, false));
        one("lp_pool2d", x -> Pooling.lpPool(x, 3, of(2, 2), of(1, 2), false));
        one("adaptive_avg_pool1d", x -> Pooling.adaptiveAvgPool(x, 3));
        one("adaptive_avg_pool2d", x -> Pooling.adaptiveAvgPool(x, 2, 3));
        one("adaptive_avg_pool2d even", x -> Pooling.adaptiveAvgPool(x, 2, 1));
        several("adaptive_max_pool2d", x -> of(Pooling.adaptiveMaxPool(x, 2, 3)));
        several("adaptive_max_pool3d", x -> of(Pooling.adaptiveMaxPool(x, 2, 2, 1)));
        one("max_unpool2d", x -> {
            Pooling.MaxPoolResult r = Pooling.maxPool(x, of(2, 2), of(2, 2), of(0, 0), of(1, 1), false);
            return Pooling.maxUnpool(r.y(), r.indices(), 4, 4);
        });
    }

    private void images() {
        one("interpolate nearest", x -> Images.interpolate(x, of(5, 3), Interpolation.NEAREST, false));
        one(
                "interpolate nearest-exact",
                x -> Images.interpolate(x, new double[] {1.7}, Interpolation.NEAREST_EXACT, false));
        one("interpolate linear", x -> Images.interpolate(x, of(7), Interpolation.LINEAR, false));
        one("interpolate bilinear", x -> Images.interpolate(x, of(5, 3), Interpolation.LINEAR, false));
        one("interpolate bilinear corners", x -> Images.interpolate(x, of(5, 3), Interpolation.LINEAR, true));
        one(
                "interpolate bilinear scale",
                x -> Images.interpolate(x, new double[] {1.3, 2}, Interpolation.LINEAR, false));
        one("interpolate bicubic", x -> Images.interpolate(x, of(5, 3), Interpolation.CUBIC, false));
        one("interpolate bicubic corners", x -> Images.interpolate(x, of(4, 6), Interpolation.CUBIC, true));
        one("interpolate trilinear", x -> Images.interpolate(x, of(3, 2, 4), Interpolation.LINEAR, false));
        one("interpolate area", x -> Images.interpolate(x, of(2, 3), Interpolation.AREA, false));
        Map<String, Interpolation> modes = Map.of(
                "nearest", Interpolation.NEAREST, "bilinear", Interpolation.LINEAR, "bicubic", Interpolation.CUBIC);
        modes.forEach((name, mode) -> {
            for (GridPadding padding : GridPadding.values()) {
                String form = "grid_sample " + name + " " + padding.toString().toLowerCase(Locale.ROOT);
                two(form + " False", (x, g) -> Images.gridSample(x, g, mode, padding, false));
                two(form + " True", (x, g) -> Images.gridSample(x, g, mode, padding, true));
            }
        });
        one("affine_grid", t -> Images.affineGrid(t, 2, 3, false));
        one("unfold", x -> Images.unfold(x, of(2, 3), of(1, 2), of(1, 2), of(2, 1)));
        one("fold", x -> Images.fold(x, of(3, 4), of(2, 2), of(1, 1), of(1, 0), of(1, 2)));
        one("pixel_shuffle", x -> Images.pixelShuffle(x, 2));
        one("pixel_unshuffle", x -> Images.pixelUnshuffle(x, 2));
        one("channel_shuffle", x -> Images.channelShuffle(x, 2));
    }

    private void norms() {
        three("group_norm", (x, w, b) -> ChannelNorms.groupNorm(x, 2, w, b, 0.01));
        one("group_norm plain", x -> ChannelNorms.groupNorm(x, 1, null, null, 0.01));
        three("instance_norm", (x, w, b) -> ChannelNorms.instanceNorm(x, null, null, w, b, true, 0.1, 0.01));
        one("local_response_norm", x -> ChannelNorms.localResponseNorm(x, 3, 0.5, 0.75, 2));
        one("local_response_norm even", x -> ChannelNorms.localResponseNorm(x, 2, 0.5, 0.75, 2));
        three("batch_norm 1d", (x, w, b) -> BatchNorm.batchNorm(x, w, b, null, null, true, 0.1, 0.01));
        three("batch_norm 3d", (x, w, b) -> BatchNorm.batchNorm(x, w, b, null, null, true, 0.1, 0.01));
    }
}
