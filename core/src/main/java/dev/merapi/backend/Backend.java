// SPDX-License-Identifier: Apache-2.0
package dev.merapi.backend;

import dev.merapi.error.DeviceException;
import dev.merapi.error.Message;
import dev.merapi.memory.RawAllocator;
import dev.merapi.op.Backward;
import dev.merapi.op.Definition;
import dev.merapi.op.DeviceCode;
import dev.merapi.op.ReadyKernel;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** What a kind of device must offer. Found by {@code ServiceLoader}, or given to {@link dev.merapi.backend.Backends#register}. */
public interface Backend {
    /** {@return the kind of device that it serves} */
    DeviceType deviceType();

    /**
     * One line for logs: name, and what it stands on.
     *
     * @return such as {@code plain Java}
     */
    String description();

    /**
     * Among several backends of one device type the highest that is available serves.
     *
     * @return 0 if nothing is said
     */
    default int priority() {
        return 0;
    }

    /**
     * Null if this backend works here, else why it does not. Never throws; has no side effects that matter.
     *
     * @return what is missing, such as the exception of a library that did not load
     */
    default @Nullable Throwable unavailableBecause() {
        return null;
    }

    /** {@return how many devices of its kind there are: indices are below it} */
    default int deviceCount() {
        return 1;
    }

    /**
     * Where the memory of one device comes from; the engine keeps what is freed for the next tensors.
     *
     * @param index of the device
     * @return the same object whenever it is asked for
     */
    RawAllocator memory(int index);

    /**
     * The kernels of this backend that are registered by the names of ops.
     *
     * @return a table that is filled already, the same at each call
     */
    default KernelTable kernelTable() {
        return new KernelTable();
    }

    /**
     * This backend's own kernel for an op, asked for once per op and dtype at its first use.
     *
     * @param op whose {@code code()}, name and schema say what is wanted
     * @param dtype the dtype that kernels are chosen by; null if the op has no tensors
     * @return a {@code Kernel} or {@code Kernel.Returning} of the op's arguments and result, or null if there is none
     */
    default @Nullable ReadyKernel<?, ?> kernel(Definition<?, ?> op, @Nullable DType dtype) {
        return kernelTable().get(op, dtype);
    }

    /**
     * Turns code that was registered as a kernel into one; null if it cannot.
     *
     * @param op that the code was registered for
     * @param code of a class that the backend knows, such as {@code CudaKernel}
     * @param dtype as above
     * @return a {@code Kernel} or {@code Kernel.Returning} of the op's arguments and result
     */
    default @Nullable ReadyKernel<?, ?> link(Definition<?, ?> op, DeviceCode code, @Nullable DType dtype) {
        return null;
    }

    /**
     * Turns code that was registered as a backward into one; null if it cannot.
     *
     * @param op that the code was registered for
     * @param code of a class that the backend knows
     * @return a formula that takes what the op saves
     */
    default @Nullable Backward<?, ?> linkBackward(Definition<?, ?> op, DeviceCode code) {
        return null;
    }

    /**
     * This backend's own backward kernel for an op, or null.
     *
     * @param op one with a formula of its own, whose saved values this kernel takes
     * @return used where no graph is created
     */
    default @Nullable Backward<?, ?> backwardKernel(Definition<?, ?> op) {
        return null;
    }

    /**
     * This backend's own way to write an op that is a composition of others; null for the op's.
     *
     * @param op a composition
     * @return from the op's arguments to its result
     */
    default @Nullable Function<?, ?> expansion(Definition<?, ?> op) {
        return null;
    }

    /**
     * Copies the bytes of a dense tensor of this device to or from one whose memory Java sees.
     *
     * @param source row-major, of the same shape and dtype as the target
     * @param target row-major; one of the two is on this device, the other Java sees
     */
    default void copy(Tensor source, Tensor target) {
        throw new DeviceException(Message.of("to: " + description() + " has no copy between devices")
                .fact("source", source.describe())
                .fact("target", target.describe())
                .fix("let the backend implement copy(source, target)."));
    }

    /**
     * How this kind of device works on several streams; null if everything is done when a call returns.
     *
     * @return the same object at each call
     */
    default @Nullable Streams streams() {
        return null;
    }

    /**
     * How this kind of device records work and repeats it; null if it does not.
     *
     * @return the same object at each call
     */
    default @Nullable Graphs graphs() {
        return null;
    }

    /**
     * Waits until all work of a device is done.
     *
     * @param index of the device
     */
    default void synchronize(int index) {}
}
