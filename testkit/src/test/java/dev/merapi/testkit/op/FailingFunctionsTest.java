// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.op;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.SavedTensorHooks;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.dispatch.Context;
import dev.merapi.error.SavedTensorException;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** A function of the user's that throws, whichever it is, leaves modes, versions, graph and memory as they were. */
class FailingFunctionsTest {
    public record X(Tensor x) {}

    public record Two(Tensor a, Tensor b) {}

    private static final class Failure extends RuntimeException {
        private static final long serialVersionUID = 1L;
    }

    private static <T> T fail() {
        throw new Failure();
    }

    private static Op<X, Tensor> op() {
        return Op.define("failing::op", X.class, Tensor.class);
    }

    private static Op<X, Tensor> doubling() {
        return op().shape(a -> Tensor.meta(a.x())).kernel(DeviceType.CPU, (a, out) -> write(out));
    }

    /** Without a temporary. */
    private static void write(Tensor t) {
        Elements e = Elements.of(t);
        for (long i = 0; i < e.numel(); i++) {
            e.setDouble(i, 2);
        }
    }

    private static Map<String, Consumer<Tensor>> calls() {
        Map<String, Consumer<Tensor>> all = new LinkedHashMap<>();
        Op<X, Tensor> shape = op().shape(a -> fail())
                .kernel(DeviceType.CPU, (a, out) -> write(out))
                .nonDifferentiable();
        all.put("shape", x -> shape.call(new X(x)));
        Op<X, Tensor> kernel = op().shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, (a, out) -> fail())
                .autograd((a, out) -> null, (c, s, g) -> Grads.of("x", g));
        all.put("kernel", x -> kernel.call(new X(x)));
        all.put("kernel of a strided input", x -> {
            try (Tensor t = x.transpose(0, 1)) {
                kernel.call(new X(t));
            }
        });
        Op<X, Two> several = Op.define("failing::several", X.class, Two.class)
                .shape(a -> new Two(Tensor.meta(a.x()), Tensor.meta(a.x())))
                .kernel(DeviceType.CPU, (a, out) -> fail())
                .nonDifferentiable();
        all.put("kernel of several outputs", x -> several.call(new X(x)));
        Op<X, Tensor> returning =
                op().returningKernel(DeviceType.CPU, a -> fail()).nonDifferentiable();
        all.put("returning kernel", x -> returning.call(new X(x)));
        Op<X, Tensor> compose = op().compose(a -> {
            a.x().mul(3).add(1);
            return fail();
        });
        all.put("composition", x -> compose.call(new X(x)));
        Op<X, Tensor> composed = op().compose(a -> {
                    a.x().mul(3).add(1);
                    return fail();
                })
                .autograd((a, out) -> null, (c, s, g) -> Grads.of("x", g));
        all.put("composition with formula", x -> composed.call(new X(x)));
        Op<X, Tensor> unrecorded = op().compose(a -> fail()).nonDifferentiable();
        all.put("non-differentiable composition", x -> unrecorded.call(new X(x)));
        Op<X, Tensor> save = doubling().autograd((a, out) -> fail(), (c, s, g) -> Grads.of("x", g));
        all.put("save", x -> save.call(new X(x)));
        Op<X, Tensor> saves = doubling().autograd((a, out) -> new Two(a.x(), out), (c, s, g) -> Grads.of("x", g));
        all.put("pack hook", x -> {
            int[] count = {0};
            try (SavedTensorHooks hooks = SavedTensorHooks.install(new SavedTensorHooks.Pair() {
                @Override
                public Object pack(Tensor tensor) {
                    return count[0]++ == 0 ? tensor : fail();
                }

                @Override
                public Tensor unpack(Object packed) {
                    return (Tensor) packed;
                }
            })) {
                saves.call(new X(x));
            }
        });
        Op<X, Tensor> view = op().view("x", a -> fail());
        all.put("view rule", x -> view.call(new X(x)));
        Op<X, Tensor> type = op().shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, (a, out) -> write(out))
                .kernelType(a -> fail())
                .nonDifferentiable();
        all.put("kernelType", x -> type.call(new X(x)));
        Op<X, Tensor> backward = doubling().autograd((a, out) -> a.x(), (c, s, g) -> {
            s.mul(g).add(1);
            return fail();
        });
        all.put("formula", x -> backwardOf(backward.call(new X(x))));
        Op<X, Tensor> backwardKernel = doubling()
                .saveForBackward((a, out) -> a.x())
                .backward(DeviceType.CPU, (c, s, g) -> fail())
                .and();
        all.put("backward kernel", x -> backwardOf(backwardKernel.call(new X(x))));
        all.put("hook", x -> {
            Tensor y = x.mul(2);
            Autograd.hook(y, g -> fail());
            backwardOf(y);
        });
        return all;
    }

    private static void backwardOf(Tensor y) {
        try (y;
                Tensor sum = y.sum()) {
            Autograd.backward(sum);
        }
    }

    @Test
    void whateverFailsLeavesEverythingAsItWas() {
        Tensor x = Tensor.ones(2, 3).requiresGrad(true);
        calls().forEach((name, call) -> {
            for (int again = 0; again < 2; again++) { // the first call may make what stays
                Context.Snapshot modes = Context.current().capture();
                int version = x.version();
                long live = BackendChoice.allocator(Device.CPU).stats().allocated();
                assertThatThrownBy(() -> call.accept(x)).as(name).isInstanceOf(Failure.class);
                assertThat(Context.current().capture()).as(name).isEqualTo(modes);
                assertThat(Context.current().scope()).as(name).isNull();
                assertThat(x.version()).as(name).isEqualTo(version);
                assertThat(x.grad()).as(name).isNull();
                assertThat(x.requiresGrad()).as(name).isTrue();
                if (again == 1 && !FREED_BY_SCOPES.contains(name)) {
                    assertThat(BackendChoice.allocator(Device.CPU).stats().allocated())
                            .as(name)
                            .isEqualTo(live);
                }
            }
        });
        // And everything works.
        Autograd.backward(x.mul(2).sum());
        assertThat(x.grad().toDoubleArray()).containsOnly(2);
    }

    /** What the graph of a failed backward saved is there as long as the graph, which a test cannot wait for. */
    private static final java.util.Set<String> FREED_BY_SCOPES =
            java.util.Set.of("formula", "backward kernel", "hook", "pack hook");

    /** The write is done, and the graph says so: backward is refused, and what was saved of the old value is outdated. */
    @Test
    void anOpInPlaceWhoseSavingFailsIsInTheGraphAsFailed() {
        Op<X, Tensor> op = op().mutates("x")
                .returnsMutated()
                .shape(X::x)
                .kernel(DeviceType.CPU, (a, out) -> write(out))
                .autograd((a, out) -> fail(), (c, s, g) -> Grads.of("x", g.mul(0)));
        for (boolean view : new boolean[] {false, true}) {
            Tensor x = Tensor.of(1.0, 5.0).requiresGrad(true);
            Tensor y = x.mul(3);
            Tensor target = view ? y.slice(0, 0, 1) : y;
            Tensor square = y.mul(y);
            int version = y.version();
            assertThatThrownBy(() -> op.call(new X(target))).isInstanceOf(Failure.class);
            assertThat(y.toDoubleArray()[0]).isEqualTo(2);
            assertThat(y.version()).isGreaterThan(version);
            assertThatThrownBy(() -> Autograd.backward(y.sum()))
                    .as("view " + view)
                    .isInstanceOf(SavedTensorException.class)
                    .hasMessageContaining("failing::op")
                    .hasMessageContaining("its saveForBackward failed")
                    .hasMessageContaining("fix: ");
            assertThatThrownBy(() -> Autograd.backward(square.sum())).hasMessageContaining("modified in place");
        }
    }
}
