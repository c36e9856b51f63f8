// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.tensor.Tensor;
import dev.merapi.tensor.Trainable;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A parameter with what an optimiser keeps beside it, on its device and in the dtype that it is stepped in.
 *
 * @param holder what was given to the optimiser
 * @param rate what times the optimiser's learning rate is its own
 * @param tensor what it stood for when the rest was made
 * @param master the values in float32; null if the tensor itself is stepped
 * @param step how many steps it has had: 0-d int64
 */
record Slot(
        Trainable holder,
        double weightDecay,
        double rate,
        Tensor tensor,
        List<Tensor> states,
        @Nullable Tensor master,
        Tensor step) {

    /** Of one that has had no step yet. */
    static Slot first(Trainable holder, double weightDecay, double rate, int states, double initial, boolean masters) {
        Tensor tensor = holder.tensor();
        List<Tensor> begun = new ArrayList<>();
        for (int k = 0; k < states; k++) {
            begun.add(Tensor.full(tensor.shape(), initial, tensor.dtype().computeType(), tensor.device()));
        }
        Tensor step = Tensor.zeros(Shape.SCALAR, DType.INT64, tensor.device());
        return new Slot(holder, weightDecay, rate, tensor, begun, masters ? master(tensor) : null, step);
    }

    /**
     * The same for the tensor that the holder has now. A master that there is stays, for where it rounds to the parameter it
     * knows more; one that is not needed any more goes, and the parameter is what it was rounded to.
     */
    Slot follow(boolean masters) {
        Tensor now = holder.tensor();
        if (now == tensor) {
            return this;
        }
        DType wide = now.dtype().computeType();
        Device device = now.device();
        List<Tensor> moved = states.stream().map(s -> s.to(wide).to(device)).toList();
        boolean wanted = masters && now.dtype() != wide;
        Tensor kept =
                !wanted ? null : master == null ? master(now) : master.to(wide).to(device);
        return new Slot(holder, weightDecay, rate, now, moved, kept, step.to(device));
    }

    private static @Nullable Tensor master(Tensor tensor) {
        DType wide = tensor.dtype().computeType();
        return tensor.dtype() == wide ? null : tensor.detach().to(wide);
    }

    Slot withStep(Tensor counted) {
        return new Slot(holder, weightDecay, rate, tensor, states, master, counted);
    }

    Slot with(double newDecay, double newRate) {
        return new Slot(holder, newDecay, newRate, tensor, states, master, step);
    }

    Slot withoutMaster() {
        return new Slot(holder, weightDecay, rate, tensor, states, null, step);
    }

    /** All that belongs to the optimiser. */
    List<Tensor> owned() {
        List<Tensor> all = new ArrayList<>(states);
        all.add(step);
        if (master != null) {
            all.add(master);
        }
        return all;
    }
}
