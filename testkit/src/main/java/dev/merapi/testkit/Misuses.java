// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backends;
import dev.merapi.ops.Attention;
import dev.merapi.ops.Convolution;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Normalization;
import dev.merapi.ops.Pooling;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.regex.Pattern;

/**
 * What users get wrong, on any device: each is refused, at the latest when the device is waited for, by an exception of the
 * same type and with the same first line as in plain Java.
 */
final class Misuses {
    private final Device device;

    /** The one that tensors of {@link #device} are mixed with. */
    private final Device other;

    private Misuses(Device device) {
        this.device = device;
        this.other = device.equals(Device.CPU) ? EdgeCalls.plainJava() : Device.CPU;
    }

    /** How the device's refusals differ from those of plain Java; empty if they don't. */
    static List<String> differences(Device device) {
        Device java = EdgeCalls.plainJava();
        Misuses tried = new Misuses(device);
        Misuses expected = new Misuses(device.equals(java) ? Device.CPU : java);
        List<String> wrong = new ArrayList<>();
        all().forEach((name, misuse) -> {
            String is = tried.refusal(misuse);
            String should = expected.refusal(misuse);
            if (!is.equals(should) || !is.startsWith("dev.merapi.error.") && !is.startsWith("java.lang.Illegal")) {
                wrong.add(name + "\n    on " + device + ": " + is + "\n    in plain Java: " + should);
            }
        });
        return wrong;
    }

    static int count() {
        return all().size();
    }

    private String refusal(Consumer<Misuses> misuse) {
        try (Scope scope = Scope.open()) {
            misuse.accept(this);
            Backends.of(device.type()).synchronize(device.index());
            return "accepted";
        } catch (RuntimeException e) {
            String line = String.valueOf(e.getMessage()).lines().findFirst().orElse("");
            return e.getClass().getName() + ": " + neutral(neutral(line, device, "<device>"), other, "<other>");
        }
    }

    private static String neutral(String text, Device device, String name) {
        return text.replaceAll("(?<![\\w-])" + Pattern.quote(device.type().name()) + "(:\\d+)?(?![\\w-])", name);
    }

    // ---------------------------------------------------------------- tensors

    private Tensor floats(long... sizes) {
        return of(DType.FLOAT32, sizes);
    }

    private Tensor of(DType dtype, long... sizes) {
        return Tensor.zeros(Shape.of(sizes), dtype, device);
    }

    private Tensor longs(long... values) {
        return Tensor.of(values).to(device);
    }

    private Tensor bools(long... sizes) {
        return of(DType.BOOL, sizes);
    }

    private Tensor leaf(long... sizes) {
        return floats(sizes).requiresGrad(true);
    }

    private Tensor elsewhere(long... sizes) {
        return Tensor.zeros(Shape.of(sizes), DType.FLOAT32, other);
    }

    private Tensor closed(long... sizes) {
        Tensor t = floats(sizes);
        t.close();
        return t;
    }

    // ---------------------------------------------------------------- misuses

    private static Map<String, Consumer<Misuses>> all() {
        Map<String, Consumer<Misuses>> all = new LinkedHashMap<>();
        shapes(all);
        dimensions(all);
        dtypes(all);
        devicesAndLifetimes(all);
        indices(all);
        gradients(all);
        return all;
    }

    private static void shapes(Map<String, Consumer<Misuses>> all) {
        all.put("add of sizes that differ", m -> m.floats(2, 3).add(m.floats(4)));
        all.put("add_ of a larger one", m -> m.floats(3).add_(m.floats(2, 3)));
        all.put("copy_ of other sizes", m -> m.floats(3).copy_(m.floats(4)));
        all.put("copyFrom too few", m -> m.floats(3).copyFrom(1f, 2f));
        all.put("matmul of sizes that differ", m -> m.floats(2, 3).matmul(m.floats(2, 3)));
        all.put("matmul without dimensions", m -> m.floats().matmul(m.floats(2)));
        all.put("bmm of matrices", m -> m.floats(2, 3).bmm(m.floats(3, 2)));
        all.put("linear with a transposed weight", m -> m.floats(2, 3).linear(m.floats(3, 4), null));
        all.put("linear with a wrong bias", m -> m.floats(2, 3).linear(m.floats(4, 3), m.floats(3)));
        all.put("cat of nothing", m -> Tensor.cat(List.of(), 0));
        all.put("cat of sizes that differ", m -> Tensor.cat(List.of(m.floats(2, 3), m.floats(2, 4)), 0));
        all.put("stack of sizes that differ", m -> Tensor.stack(List.of(m.floats(2), m.floats(3)), 0));
        all.put("reshape to another count", m -> m.floats(2, 3).reshape(4));
        all.put("reshape with two unknown", m -> m.floats(2, 3).reshape(-1, -1));
        all.put("view of a transposed one", m -> m.floats(2, 3).t().view(6));
        all.put("expand of a size above 1", m -> m.floats(2, 3).expand(2, 4));
        all.put("expand to fewer dimensions", m -> m.floats(2, 3).expand(3));
        all.put("permute of too few", m -> m.floats(2, 3).permute(0));
        all.put("unflatten to another count", m -> m.floats(6).unflatten(0, 4, 2));
        all.put("split into other sizes", m -> m.floats(6).split(new long[] {2, 3}, 0));
        all.put("split into none", m -> m.floats(6).split(0, 0));
        all.put("pad below nothing", m -> m.floats(3).pad(0, -2, -2));
        all.put("repeat of too few", m -> m.floats(2, 3).repeat(2));
        all.put("sumTo a larger shape", m -> m.floats(3).sumTo(Shape.of(2, 3)));
        all.put("a negative size", m -> m.floats(2, -3));
        all.put("item of many", m -> m.floats(2).item());
        all.put("where of sizes that differ", m -> m.floats(3).where(m.bools(2), m.floats(3)));
        all.put("fma of sizes that differ", m -> m.floats(3).fma(m.floats(3), m.floats(2)));
        all.put(
                "conv2d of other channels",
                m -> Convolution.conv2d(m.floats(1, 3, 5, 5), m.floats(4, 2, 3, 3), null, 1, 0, 1, 1));
        all.put("maxPool2d of a kernel that does not fit", m -> Pooling.maxPool2d(m.floats(1, 1, 2, 2), 5, 1, 0));
        all.put(
                "layerNorm of another shape",
                m -> Normalization.layerNorm(m.floats(2, 3), new long[] {4}, null, null, 1e-5));
        all.put(
                "layerNorm with a wrong weight",
                m -> Normalization.layerNorm(m.floats(2, 3), new long[] {3}, m.floats(2), null, 1e-5));
        all.put(
                "attention of other widths",
                m -> Attention.attention(m.floats(1, 2, 4, 8), m.floats(1, 2, 4, 6), m.floats(1, 2, 4, 8), false));
        all.put("mseLoss of sizes that differ", m -> Losses.mseLoss(m.floats(2), m.floats(3)));
        all.put("crossEntropy of too few targets", m -> Losses.crossEntropy(m.floats(2, 3), m.longs(1)));
    }

    private static void dimensions(Map<String, Consumer<Misuses>> all) {
        all.put("sum of no dimension", m -> m.floats(2, 3).sum(2));
        all.put("sum of one twice", m -> m.floats(2, 3).sum(0, 0));
        all.put("softmax of no dimension", m -> m.floats(2, 3).softmax(-3));
        all.put("cumsum of no dimension", m -> m.floats(2).cumsum(1));
        all.put("transpose of no dimension", m -> m.floats(2, 3).transpose(0, 2));
        all.put("permute of one twice", m -> m.floats(2, 3).permute(0, 0));
        all.put("unsqueeze too far", m -> m.floats(2, 3).unsqueeze(4));
        all.put("select beyond the end", m -> m.floats(2, 3).select(0, 2));
        all.put("narrow beyond the end", m -> m.floats(6).narrow(0, 4, 3));
        all.put("slice by no step", m -> m.floats(6).slice(0, 0, 6, 0));
        all.put("flip of no dimension", m -> m.floats(2).flip(1));
        all.put("roll without dimensions", m -> m.floats().roll(1, 0));
        all.put("sort of no dimension", m -> m.floats(2).sort(1));
        all.put("topk of too many", m -> m.floats(3).topk(4));
        all.put("amax of nothing", m -> m.floats(0, 3).amax(0));
        all.put("argmax of nothing", m -> m.floats(0).argmax());
        all.put("chunk into none", m -> m.floats(3).chunk(0, 0));
    }

    private static void dtypes(Map<String, Consumer<Misuses>> all) {
        all.put("matmul of dtypes that differ", m -> m.floats(2, 2).matmul(m.of(DType.FLOAT64, 2, 2)));
        all.put("matmul of bools", m -> m.bools(2, 2).matmul(m.bools(2, 2)));
        all.put("add_ of floats to integers", m -> m.longs(1, 2).add_(m.floats(2)));
        all.put("neg of bools", m -> m.bools(2).neg());
        all.put("sub of bools", m -> m.bools(2).sub(m.bools(2)));
        all.put("bitAnd of floats", m -> m.floats(2).bitAnd(m.floats(2)));
        all.put("shiftLeft of floats", m -> m.floats(2).shiftLeft(1));
        all.put("softmax of integers", m -> m.longs(1, 2).softmax(0));
        all.put("sum into bools", m -> m.longs(1, 2).sum(new int[] {0}, false, DType.BOOL));
        all.put("maskedSelect by floats", m -> m.floats(2).maskedSelect(m.floats(2)));
        all.put("gather by floats", m -> m.floats(2).gather(0, m.floats(2)));
        all.put("scatterAdd of another dtype", m -> m.floats(2).scatterAdd(0, m.longs(0), m.of(DType.FLOAT64, 1)));
        all.put("crossEntropy with targets of floats", m -> Losses.crossEntropy(m.floats(2, 3), m.floats(2)));
        all.put("oneHot of floats", m -> m.floats(2).oneHot(3));
    }

    private static void devicesAndLifetimes(Map<String, Consumer<Misuses>> all) {
        all.put("add across devices", m -> m.floats(2).add(m.elsewhere(2)));
        all.put("add_ across devices", m -> m.floats(2).add_(m.elsewhere(2)));
        all.put("matmul across devices", m -> m.floats(2, 2).matmul(m.elsewhere(2, 2)));
        all.put("cat across devices", m -> Tensor.cat(List.of(m.floats(2), m.elsewhere(2)), 0));
        all.put("gather across devices", m -> m.elsewhere(2).gather(0, m.longs(0)));
        all.put("add of a closed one", m -> m.floats(2).add(m.closed(2)));
        all.put("neg of a closed one", m -> m.closed(2).neg());
        all.put("read of a closed one", m -> m.closed(2).toFloatArray());
        all.put("view of a closed one", m -> m.closed(2).view(2));
        all.put("copy_ from a closed one", m -> m.floats(2).copy_(m.closed(2)));
        all.put("cat of a closed one", m -> Tensor.cat(List.of(m.floats(2), m.closed(2)), 0));
        all.put("write to an expanded one", m -> m.floats(1).expand(3).add_(1));
        all.put("read of a meta tensor", m -> Tensor.meta(m.floats(2)).toFloatArray());
        all.put("add of a meta tensor", m -> m.floats(2).add(Tensor.meta(m.floats(2))));
    }

    private static void indices(Map<String, Consumer<Misuses>> all) {
        all.put("gather beyond the end", m -> m.floats(3).gather(0, m.longs(0, 3)));
        all.put("gather before the beginning", m -> m.floats(3).gather(0, m.longs(0, -4)));
        all.put("gather of another rank", m -> m.floats(2, 3).gather(0, m.longs(0)));
        all.put("indexSelect beyond the end", m -> m.floats(3, 2).indexSelect(0, m.longs(0, 7)));
        all.put(
                "indexSelect by a matrix",
                m -> m.floats(3, 2).indexSelect(0, m.longs(0, 1).reshape(1, 2)));
        all.put("embedding beyond the end", m -> m.floats(3, 2).embedding(m.longs(5)));
        all.put("scatter beyond the end", m -> m.floats(3).scatter(0, m.longs(3), m.floats(1)));
        all.put("scatterAdd_ beyond the end", m -> m.floats(3).scatterAdd_(0, m.longs(3), m.floats(1)));
        all.put("indexAdd_ beyond the end", m -> m.floats(3).indexAdd_(0, m.longs(9), m.floats(1)));
        all.put("indexAdd of too few rows", m -> m.floats(3).indexAdd(0, m.longs(0, 1), m.floats(1)));
        all.put("oneHot beyond the classes", m -> m.longs(0, 3).oneHot(3));
        all.put("crossEntropy beyond the classes", m -> Losses.crossEntropy(m.floats(2, 3), m.longs(0, 3)));
    }

    private static void gradients(Map<String, Consumer<Misuses>> all) {
        all.put("add_ on a leaf", m -> m.leaf(2).add_(1));
        all.put("copy_ on a view of a leaf", m -> m.leaf(2, 2).select(0, 0).copy_(m.floats(2)));
        all.put("backward of many", m -> Autograd.backward(m.leaf(2).mul(2)));
        all.put("backward of what has no graph", m -> Autograd.backward(m.floats()));
        all.put(
                "backward with a gradient of another shape",
                m -> Autograd.backward(m.leaf(2).mul(2), m.floats(3), Autograd.Graph.FREE));
        all.put(
                "backward with a gradient from elsewhere",
                m -> Autograd.backward(m.leaf(2).mul(2), m.elsewhere(2), Autograd.Graph.FREE));
        all.put("backward twice", m -> {
            Tensor loss = m.leaf(2).square().sum();
            Autograd.backward(loss);
            Autograd.backward(loss);
        });
        all.put("backward of what was written", m -> {
            Tensor x = m.leaf(2).mul(1);
            Tensor loss = x.square().sum();
            x.add_(1);
            Autograd.backward(loss);
        });
        all.put("grad of what was not used", m -> Autograd.grad(m.leaf(2).sum(), List.of(m.leaf(2))));
        all.put("requiresGrad of integers", m -> m.longs(1, 2).requiresGrad(true));
        all.put("setGrad of another shape", m -> m.leaf(2).setGrad(m.floats(3)));
    }
}
