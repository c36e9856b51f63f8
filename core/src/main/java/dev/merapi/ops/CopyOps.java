// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.BackendChoice;
import dev.merapi.error.ShapeException;
import dev.merapi.expr.Expr;
import dev.merapi.expr.ir.Promotion;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.util.List;

/** Copies: to fresh memory, into a tensor, to another dtype or device. */
public final class CopyOps {
    private static final PointwiseCode IDENTITY = new PointwiseCode(List.of(Expr.input(0)), 1, Promotion.TOGETHER);

    private CopyOps() {}

    /**
     * What {@link #CAST} takes.
     *
     * @param x of any dtype
     * @param dtype that of the copy
     */
    public record Cast(Tensor x, DType dtype) implements CopyArgs {}

    /**
     * What {@link #MOVE} takes.
     *
     * @param x on any device
     * @param device that of the copy
     */
    public record Move(Tensor x, Device device) {}

    /** Arguments whose operation is: every element of x, converted to the output's dtype. */
    public interface CopyArgs extends PointwiseArgs {
        /** {@return the tensor that is read} */
        Tensor x();

        @Override
        default Tensor[] tensors() {
            return new Tensor[] {x()};
        }

        @Override
        default List<Number> scalars() {
            return List.of();
        }
    }

    /**
     * What {@link #COPY_INTO} takes.
     *
     * @param target what is written
     * @param x what is read: its shape broadcasts to that of the target
     */
    public record Into(Tensor target, Tensor x) implements CopyArgs {}

    /** A row-major copy in a dtype. */
    public static final Op<Cast, Tensor> CAST = Op.define("merapi::cast", Cast.class, Tensor.class)
            .shape(a -> Tensor.meta(a.x(), a.dtype()))
            .stridesOk()
            .code(IDENTITY)
            .autograd((a, out) -> a.x().dtype(), (context, from, g) -> Grads.of("x", g.to(from)))
            .linear("x")
            .register();

    /** Writes {@code x}, broadcast and converted, into {@code target}. */
    public static final Op<Into, Tensor> COPY_INTO = Op.define("merapi::copy_", Into.class, Tensor.class)
            .mutates("target")
            .returnsMutated()
            .stridesOk()
            .shape(a -> {
                if (!a.x().shape().expandableTo(a.target().shape())) {
                    throw new ShapeException("copy_: " + a.x().describe() + " does not broadcast to "
                            + a.target().describe());
                }
                return a.target();
            })
            .code(IDENTITY)
            .autograd(
                    (a, out) -> a.x().dtype(),
                    (context, from, g) -> Grads.of("target", g.zerosLike()).and("x", g.to(from)))
            .register();

    /** A copy on another device. */
    public static final Op<Move, Tensor> MOVE = Op.define("merapi::move", Move.class, Tensor.class)
            .returningReference(a -> moved(a.x(), a.device()))
            .returningKernel(DeviceType.CUDA, a -> moved(a.x(), a.device()))
            .returningKernel(DeviceType.CUDA_SIM, a -> moved(a.x(), a.device()))
            .autograd((a, out) -> a.x().device(), (context, from, g) -> Grads.of("x", g.to(from)))
            .linear("x")
            .register();

    private static Tensor moved(Tensor x, Device device) {
        Tensor out = TENSORS.allocate(x.shape(), x.dtype(), device);
        if (x.numel() == 0) {
            return out;
        }
        boolean fromHere = BackendChoice.allocator(x.device()).isJavaVisible();
        boolean toHere = BackendChoice.allocator(device).isJavaVisible();
        if (fromHere && toHere) {
            Elements.copyBytes(x, out);
        } else if (!fromHere && !toHere && x.device().type() != device.type()) {
            try (Tensor host = moved(x, Device.CPU)) { // neither kind knows the other
                BackendChoice.of(device.type()).copy(host, out);
            }
        } else {
            BackendChoice.of((fromHere ? device : x.device()).type()).copy(x, out);
        }
        return out;
    }
}
