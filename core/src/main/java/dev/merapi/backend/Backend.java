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
    DeviceType deviceType();

    /** One line for logs: name, and what it stands on. */
    String description();

    /** Among several backends of one device type the highest that is available serves. */
    default int priority() {
        return 0;
    }

    /** Null if this backend works here, else why it does not. Never throws; has no side effects that matter. */
    default @Nullable Throwable unavailableBecause() {
        return null;
    }

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

    /** The kernels of this backend that are registered by the names of ops. */
    default KernelTable kernelTable() {
        return new KernelTable();
    }

    /**
     * This backend's own kernel for an op, asked for once per op and dtype at its first use.
     *
     * @param dtype the dtype that kernels are chosen by; null if the op has no tensors
     * @return a {@code Kernel} or {@code Kernel.Returning} of the op's arguments and result, or null if there is none
     */
    default @Nullable ReadyKernel<?, ?> kernel(Definition<?, ?> op, @Nullable DType dtype) {
        return kernelTable().get(op, dtype);
    }

    /** Turns code that was registered as a kernel into one; null if it cannot. */
    default @Nullable ReadyKernel<?, ?> link(Definition<?, ?> op, DeviceCode code, @Nullable DType dtype) {
        return null;
    }

    /** Turns code that was registered as a backward into one; null if it cannot. */
    default @Nullable Backward<?, ?> linkBackward(Definition<?, ?> op, DeviceCode code) {
        return null;
    }

    /** This backend's own backward kernel for an op, or null. */
    default @Nullable Backward<?, ?> backwardKernel(Definition<?, ?> op) {
        return null;
    }

    /** This backend's own way to write an op that is a composition of others; null for the op's. */
    default @Nullable Function<?, ?> expansion(Definition<?, ?> op) {
        return null;
    }

    /** Copies the bytes of a dense tensor of this device to or from one whose memory Java sees. */
    default void copy(Tensor source, Tensor target) {
        throw new DeviceException(Message.of("to: " + description() + " has no copy between devices")
                .fact("source", source.describe())
                .fact("target", target.describe())
                .fix("let the backend implement copy(source, target)."));
    }

    /** How this kind of device works on several streams; null if everything is done when a call returns. */
    default @Nullable Streams streams() {
        return null;
    }

    /** How this kind of device records work and repeats it; null if it does not. */
    default @Nullable Graphs graphs() {
        return null;
    }

    /** Waits until all work of a device is done. */
    default void synchronize(int index) {}
}
