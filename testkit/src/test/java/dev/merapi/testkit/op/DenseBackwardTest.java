// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.op;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.autograd.Autograd;
import dev.merapi.op.Backward;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DeviceType;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;

/** Backward kernels read memory as forward kernels do: row-major, unless the op declares that it takes strides. */
class DenseBackwardTest {
    public record XW(Tensor x, Tensor w) {}

    public record Saved(Tensor x, List<Tensor> more) {}

    public record Two(Tensor product, Tensor sum) {}

    /** Ways in which a [2, 3] tensor can lie in memory. */
    private static final Map<String, UnaryOperator<Tensor>> LAYOUTS = new TreeMap<>(Map.of(
            "dense", t -> t,
            "transposed", t -> t.transpose(0, 1).contiguous().transpose(0, 1),
            "sliced", t -> Tensor.cat(List.of(t, t), 1).slice(1, 0, 3),
            "stepped", t -> Tensor.stack(List.of(t, t), 2).select(2, 0)));

    /** How the gradient of a result comes in: that of a sum is one number, expanded. */
    private static final Map<String, UnaryOperator<Tensor>> USES = new TreeMap<>(Map.of(
            "sum", Tensor::sum,
            "transposed", y -> y.transpose(0, 1).mul(weights().transpose(0, 1)).sum(),
            "column", y -> y.select(1, 1).sum(),
            "sliced", y -> y.slice(1, 1, 3).mul(2).sum(),
            "product", y -> y.mul(weights()).sum()));

    private static Tensor weights() {
        return Tensor.of(new double[] {1, 2, 3, 4, 5, 6}, 2, 3);
    }

    /** What memory holds from the first element on: what a kernel that knows no strides reads. */
    private static double[] raw(Tensor t) {
        ByteBuffer memory = Objects.requireNonNull(TENSORS.storage(t).rawBuffer());
        int first = TENSORS.storage(t).bufferOffset() + (int) t.layout().offset() * 8;
        double[] values = new double[6];
        for (int i = 0; i < 6 && first + 8 * i + 8 <= memory.capacity(); i++) {
            values[i] = memory.order(java.nio.ByteOrder.nativeOrder()).getDouble(first + 8 * i);
        }
        return values;
    }

    private static Tensor times(Tensor a, Tensor b) {
        double[] x = raw(a);
        double[] y = raw(b);
        for (int i = 0; i < x.length; i++) {
            x[i] *= y[i];
        }
        return Tensor.of(x, 2, 3);
    }

    private static Grads gradients(Saved s, Tensor g, boolean[] strided) {
        Tensor w = s.more().get(0);
        strided[0] |= !s.x().isContiguous() || !w.isContiguous() || !g.isContiguous();
        return Grads.of("x", times(w, g)).and("w", times(s.x(), g));
    }

    private static Op<XW, Tensor> product(boolean[] strided) {
        return Op.define("dense::product", XW.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, (a, out) -> out.copy_(a.x().mul(a.w())))
                .saveForBackward((a, out) -> new Saved(a.x(), List.of(a.w())))
                .backward(DeviceType.CPU, (Backward<Saved, Tensor>) (c, s, g) -> gradients(s, g, strided))
                .and();
    }

    /** The gradients of x and w by an op, next to those of multiplication. */
    private static double[][] both(Op<XW, Tensor> op, UnaryOperator<Tensor> layout, UnaryOperator<Tensor> use) {
        double[][] all = new double[4][];
        for (int own = 0; own < 2; own++) {
            Tensor x = weights().add(0.5).requiresGrad(true);
            Tensor w = weights().mul(-2).requiresGrad(true);
            Tensor lx = layout.apply(x);
            Tensor lw = layout.apply(w);
            Autograd.backward(use.apply(own == 0 ? op.call(new XW(lx, lw)) : lx.mul(lw)));
            all[2 * own] = x.grad().toDoubleArray();
            all[2 * own + 1] = w.grad().toDoubleArray();
        }
        return all;
    }

    @Test
    void kernelsOfBackwardGetRowMajorTensors() {
        boolean[] strided = {false};
        LAYOUTS.forEach((layout, lay) -> USES.forEach((use, made) -> {
            double[][] all = both(product(strided), lay, made);
            assertThat(all[0]).as(layout + ", " + use).containsExactly(all[2]);
            assertThat(all[1]).as(layout + ", " + use).containsExactly(all[3]);
        }));
        assertThat(strided[0]).isFalse();
        both(product(strided).stridesOk(), LAYOUTS.get("transposed"), Tensor::sum);
        assertThat(strided[0]).as("declared to take strides").isTrue();
    }

    @Test
    void soDoThoseOfSeveralResultsAndLists() {
        boolean[] strided = {false};
        Op<XW, Two> two = Op.define("dense::two", XW.class, Two.class)
                .shape(a -> new Two(Tensor.meta(a.x()), Tensor.meta(a.x())))
                .kernel(DeviceType.CPU, (a, out) -> {
                    out.product().copy_(a.x().mul(a.w()));
                    out.sum().copy_(a.x().add(a.w()));
                })
                .saveForBackward((a, out) -> new Saved(a.x(), List.of(a.w())))
                .backward(DeviceType.CPU, (Backward<Saved, Two>) (c, s, g) -> gradients(s, g.product(), strided))
                .and();
        Op<XW, List<Tensor>> list = Op.define("dense::list", XW.class, Result.tensors())
                .shape(a -> List.of(Tensor.meta(a.x())))
                .kernel(DeviceType.CPU, (a, out) -> out.get(0).copy_(a.x().mul(a.w())))
                .saveForBackward((a, out) -> new Saved(a.x(), List.of(a.w())))
                .backward(DeviceType.CPU, (Backward<Saved, List<Tensor>>) (c, s, g) -> gradients(s, g.get(0), strided))
                .and();
        for (boolean many : new boolean[] {false, true}) {
            Tensor x = weights().requiresGrad(true);
            Tensor t = x.transpose(0, 1).contiguous().transpose(0, 1);
            XW args = new XW(t, t.detach());
            Autograd.backward((many ? list.call(args).get(0) : two.call(args).product()).sum());
            assertThat(x.grad().toDoubleArray()).as("" + many).containsExactly(1, 2, 3, 4, 5, 6);
        }
        assertThat(strided[0]).isFalse();
    }
}
