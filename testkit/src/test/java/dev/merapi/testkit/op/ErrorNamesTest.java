// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.op;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autograd;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.error.DeviceException;
import dev.merapi.error.GradientException;
import dev.merapi.error.Message;
import dev.merapi.error.MissingKernelException;
import dev.merapi.error.OpError;
import dev.merapi.error.RegistrationException;
import dev.merapi.error.SavedTensorException;
import dev.merapi.error.SchemaException;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Op;
import dev.merapi.op.OpRegistry;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.lang.invoke.MethodHandles;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import somebody.Intruder;

/** What errors are called: the op that was called, its argument, and what is inside as a detail. */
class ErrorNamesTest {
    record X(Tensor x) {}

    record Fixed(Tensor x, double rate) {}

    @AfterEach
    void forget() {
        OpRegistry.all().stream()
                .map(Op::name)
                .filter(n -> n.startsWith("errors::"))
                .forEach(OpRegistry::destroy);
    }

    // ---------------------------------------------------------------- the op that was called

    @Test
    void anErrorTakesTheNameOfEachOpThatItLeaves() {
        ShapeException e =
                new ShapeException(Message.of("dimension 3 is out of range").argument("dim"));
        OpError.in("merapi::cat", e);
        OpError.in("merapi::cat", e); // once
        assertThat(e).hasMessage("merapi::cat: dimension 3 is out of range");
        OpError.in("merapi::stack", e);
        assertThat(e).hasMessage("merapi::stack: in merapi::cat: dimension 3 is out of range");
        assertThat(e.op()).isEqualTo("merapi::stack");
        assertThat(e.argument()).isEqualTo("dim");
    }

    @Test
    void aTextThatBeginsWithTheNameKeepsIt() {
        assertThat(OpError.in("demo::op", new ShapeException("demo::op: wrong")))
                .hasMessage("demo::op: wrong");
        assertThat(OpError.in("demo::op", new ShapeException("op: wrong"))).hasMessage("demo::op: wrong");
        assertThat(OpError.in("demo::op", new ShapeException("of 3 ops: wrong")))
                .hasMessage("demo::op: of 3 ops: wrong");
    }

    @Test
    void anOpIsNamedAlsoWhereTheTextHasItsLetters() { // "sum" is a part of "assume", "t" of anything
        Op<X, Tensor> op = Op.define(MethodHandles.lookup(), "errors::sum", X.class, Tensor.class)
                .shape(a -> {
                    throw new ShapeException("we assume that sums of tensors fit");
                })
                .register();
        assertThatThrownBy(() -> op.call(new X(Tensor.of(1f)))).hasMessageStartingWith("errors::sum: we assume");
    }

    @Test
    void stackSaysStack() {
        assertThatThrownBy(() -> Tensor.stack(List.of(), 0))
                .isInstanceOf(ShapeException.class)
                .hasMessageStartingWith("merapi::stack: ");
        ShapeException e = assertThrows(ShapeException.class, () -> Tensor.stack(List.of(Tensor.of(1f)), 5));
        assertThat(e).hasMessageStartingWith("merapi::stack: ");
        assertThat(e.op()).isEqualTo("merapi::stack");
    }

    @Test
    void closedTensorsAreCalledByTheArgument() {
        Tensor gone = Tensor.of(1f, 2f);
        gone.close();
        Tensor x = Tensor.of(3f, 4f);
        assertThatThrownBy(() -> x.add(gone))
                .hasMessageStartingWith("merapi::add: argument 'y', float32[2] cpu, is closed");
        ClosedTensorException e = assertThrows(ClosedTensorException.class, () -> Tensor.cat(List.of(x, gone), 0));
        assertThat(e).hasMessageStartingWith("merapi::cat: argument 'tensors[1]'");
        assertThat(e.argument()).isEqualTo("tensors[1]");
        assertThatThrownBy(gone::detach).hasMessageStartingWith("detach: argument 'x', float32[2] cpu, is closed");
        assertThatThrownBy(gone::bernoulli).hasMessageStartingWith("bernoulli: argument 'x'");
    }

    // ---------------------------------------------------------------- in place

    @Test
    void inPlaceOnALeafSaysWhichOp() {
        Tensor leaf = Tensor.of(1f, 2f).requiresGrad(true);
        Tensor one = Tensor.of(1f, 1f);
        Map<String, Runnable> writes = Map.of(
                "add_", () -> leaf.add_(one),
                "mul_", () -> leaf.mul_(one),
                "sub_scalar_", () -> leaf.sub_(1),
                "neg_", leaf::neg_,
                "fill_", () -> leaf.fill_(0));
        writes.forEach((name, write) -> assertThatThrownBy(write::run)
                .isInstanceOf(GradientException.class)
                .hasMessageStartingWith("merapi::" + name + ": ")
                .hasMessageContaining("leaf that requires a gradient"));
        assertThat(leaf.version()).isZero();
    }

    @Test
    void aSavedTensorThatWasChangedNamesTheOpAndTheArgument() {
        Tensor x = Tensor.of(1f, 2f).requiresGrad(true);
        Tensor y = x.mul(2);
        Tensor product = y.mul(y);
        y.mul_(Tensor.of(3f, 3f));
        assertThatThrownBy(() -> Autograd.backward(product.sum()))
                .isInstanceOf(SavedTensorException.class)
                .hasMessageStartingWith("backward of merapi::mul: ")
                .hasMessageContaining("argument 'x'")
                .hasMessageContaining("last in-place op: merapi::mul_");
    }

    @Test
    void checkedAndAnomalyModeRememberWhereAWriteWas() {
        Tensor t = Tensor.of(1f);
        t.add_(1);
        assertThat(TENSORS.storage(t).lastMutatedAt()).isNull();
        try (Autograd.Mode mode = Autograd.anomaly()) {
            t.add_(1);
        }
        assertThat(TENSORS.storage(t).lastMutatedAt()).isNotNull();
        t.add_(1);
        assertThat(TENSORS.storage(t).lastMutatedAt()).isNull();
        Merapi.checked(true);
        try {
            t.mul_(2);
        } finally {
            Merapi.checked(false);
        }
        assertThat(TENSORS.storage(t).lastMutatedAt()).isNotNull();
    }

    // ---------------------------------------------------------------- backward

    @Test
    void gradientsReachALeafThatIsOneOfManyViews() {
        Map<String, Function<Tensor, List<Tensor>>> many =
                Map.of("split", t -> t.split(1, 0), "chunk", t -> t.chunk(3, 0), "unbind", t -> t.unbind(0));
        many.forEach((name, views) -> {
            for (int i = 0; i < 3; i++) {
                Tensor leaf = views.apply(Tensor.of(1.0, 2.0, 3.0)).get(i).requiresGrad(true);
                Autograd.backward(leaf.mul(leaf).sum());
                assertThat(leaf.grad().item()).as(name + " " + i).isEqualTo(2.0 * (i + 1));
                assertThat(Autograd.grad(leaf.mul(3).sum(), List.of(leaf))
                                .get(0)
                                .item())
                        .isEqualTo(3);
            }
        });
    }

    // ---------------------------------------------------------------- registration

    @Test
    void anOpWithoutAShapeRuleSaysThatItHasNone() {
        Op<X, Tensor> op = Op.define(MethodHandles.lookup(), "errors::rule", X.class, Tensor.class)
                .returningKernel(DeviceType.CPU, a -> a.x().copy())
                .register();
        assertThatThrownBy(() -> op.call(new X(Tensor.meta(Tensor.of(1f)))))
                .hasMessageStartingWith("errors::rule: has no shape rule");
    }

    @Test
    void aKernelThatIsThereForOtherDtypesIsNotSaidToBeMissing() {
        Op<X, Tensor> op = Op.define(MethodHandles.lookup(), "errors::typed", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, (a, out) -> {}, DType.FLOAT64)
                .register();
        assertThatThrownBy(() -> op.call(new X(Tensor.of(1f))))
                .isInstanceOf(MissingKernelException.class)
                .hasMessageStartingWith("errors::typed: no cpu kernel for float32")
                .hasMessageContaining("registered: cpu {float64}")
                .hasMessageContaining("x.to(dtype)");
        try (Op.Override<X, Tensor> off = op.override().disable(DeviceType.CPU)) {
            assertThatThrownBy(() -> op.call(new X(Tensor.of(1.0)))).hasMessageContaining("disabled by an override");
        }
    }

    @Test
    void aDeviceNameThatIsMisspeltIsNoDevice() {
        int before = DeviceType.all().size();
        for (String name : List.of("cdua:0", "CPU", "gpu", "cuda-smi:1", "", ":", "cpu 0")) {
            assertThatThrownBy(() -> Device.of(name))
                    .as(name)
                    .isInstanceOf(DeviceException.class)
                    .hasMessageContaining("known: cpu, cuda, cuda-sim");
        }
        assertThatThrownBy(() -> Device.of("cdua:0")).hasMessageContaining("fix: \"cuda\"");
        assertThatThrownBy(() -> Device.of("cuda:x")).isInstanceOf(DeviceException.class);
        assertThat(DeviceType.all()).hasSize(before);
    }

    @Test
    void namesAndKernelsOfBuiltInOpsAreNotTakenInPassing() {
        assertThatThrownBy(Intruder::define)
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("reserved namespace");
        assertThatThrownBy(Intruder::definePointwise)
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("reserved namespace");
        assertThatThrownBy(Intruder::defineReduction)
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("reserved namespace");
        assertThatThrownBy(Intruder::kernel)
                .isInstanceOf(RegistrationException.class)
                .hasMessageStartingWith("merapi::softmax: is built in")
                .hasMessageContaining("replaceKernel");
        assertThat(Intruder.inPlaceOfItsOwn().item()).isEqualTo(5);
        assertThat(Intruder.overridden().item()).isEqualTo(7);
    }
}
