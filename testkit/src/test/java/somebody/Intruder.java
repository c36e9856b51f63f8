// SPDX-License-Identifier: Apache-2.0
package somebody;

import dev.merapi.autograd.Autograd;
import dev.merapi.op.Op;
import dev.merapi.ops.Arithmetic;
import dev.merapi.ops.Combine;
import dev.merapi.ops.Pointwise;
import dev.merapi.ops.ReductionOp;
import dev.merapi.ops.Softmax;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DeviceType;
import java.util.List;

/** Code that is not the engine's: what it may do with the engine's names, and what not. */
public final class Intruder {
    private Intruder() {}

    /** Any arguments. */
    public record Args(Tensor x) {}

    public static void define() {
        Op.define("merapi::mine", Args.class, Tensor.class);
    }

    public static void definePointwise() {
        Pointwise.define("merapi::mine", x -> x.mul(2.0));
    }

    public static void defineReduction() {
        ReductionOp.define("merapi::mine", x -> x, Combine.SUM);
    }

    public static void kernel() {
        Softmax.SOFTMAX.kernel(DeviceType.CPU, (a, out) -> out.fill_(7));
    }

    /** Ops that are derived when they are first needed are the engine's, whoever needs them. */
    public static Tensor inPlaceOfItsOwn() {
        Tensor x = Tensor.of(2.0).requiresGrad(true);
        Autograd.backward(Arithmetic.COPYSIGN.call(x, Tensor.of(1.0)).sum());
        return Arithmetic.ADD_SCALED.into(Tensor.of(2.0), List.of(Tensor.of(2.0), Tensor.of(1.0)), List.of(3));
    }

    public static Tensor overridden() {
        try (var seven = Softmax.SOFTMAX.override().kernel(DeviceType.CPU, (a, out) -> out.fill_(7))) {
            return Tensor.of(1.0).softmax(0);
        }
    }
}
