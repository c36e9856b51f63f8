// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd;

import dev.merapi.autograd.graph.AutocastLayer;
import dev.merapi.autograd.graph.CastCache;
import dev.merapi.dispatch.CallLayer;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.ThreadMode;
import dev.merapi.error.DTypeException;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Automatic mixed precision: inside, each op runs in the precision that its
 * {@linkplain dev.merapi.op.CastPolicy policy} asks for, while parameters stay float32.
 *
 * <pre>{@code
 * Tensor loss;
 * try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
 *     loss = Losses.crossEntropy(model.forward(x), y);
 * }
 * Autograd.backward(loss);
 * }</pre>
 *
 * <p>Matrix products, convolutions and attention run in the 16-bit dtype; exponentials, sums, normalisations and losses in
 * float32; ops with one dtype for several operands in the widest of theirs; everything else in whatever its operands are.
 * The conversions are recorded: gradients arrive at the parameters in the parameters' dtype, and what waits for backward
 * is the 16-bit tensor. Backward itself runs without the mode, each formula in the dtypes that the forward call had, so
 * call it outside. float64 and integers are never touched.
 *
 * <p>A float32 parameter is converted once, at its first use, and again when it was written since; these copies are freed
 * when the outermost mode of the thread ends. A mode belongs to the thread that opened it; modes nest.
 */
public final class Autocast implements AutoCloseable {
    private final ThreadMode mode;

    private Autocast(Context context, @Nullable DType @Nullable [] lower) {
        AutocastLayer outer = current(context);
        CastCache shared = outer == null ? null : outer.cache();
        AutocastLayer layer = lower == null ? null : new AutocastLayer(lower, shared, context);
        CallLayer before = context.setAutocast(layer);
        this.mode = ThreadMode.begin(context, "autocast", () -> {
            context.setAutocast(before);
            if (layer != null && layer.cache() != shared) {
                layer.cache().close();
            }
        });
    }

    /**
     * On for all devices.
     *
     * @param lower FLOAT16 or BFLOAT16
     * @return the mode, to be closed by this thread
     */
    public static Autocast on(DType lower) {
        requireLower(lower);
        @Nullable DType[] all = new DType[DeviceType.LIMIT];
        java.util.Arrays.fill(all, lower);
        return new Autocast(Context.current(), all);
    }

    /**
     * On for one kind of device; for the others as it was.
     *
     * @param device a kind of device
     * @param lower FLOAT16 or BFLOAT16
     * @return the mode, to be closed by this thread
     */
    public static Autocast on(DeviceType device, DType lower) {
        requireLower(lower);
        return with(device, lower);
    }

    /**
     * Off for all devices, inside a mode that is on.
     *
     * @return the mode, to be closed by this thread
     */
    public static Autocast off() {
        return new Autocast(Context.current(), null);
    }

    /**
     * Off for one kind of device; for the others as it was.
     *
     * @param device a kind of device
     * @return the mode, to be closed by this thread
     */
    public static Autocast off(DeviceType device) {
        Objects.requireNonNull(device, "device");
        return with(device, null);
    }

    private static Autocast with(DeviceType device, @Nullable DType lower) {
        Context context = Context.current();
        AutocastLayer outer = current(context);
        @Nullable DType[] all = outer == null ? new DType[DeviceType.LIMIT] : outer.lower();
        all[device.id()] = lower;
        return new Autocast(context, all);
    }

    private static void requireLower(DType dtype) {
        if (dtype != DType.FLOAT16 && dtype != DType.BFLOAT16) {
            throw new DTypeException("autocast: " + dtype + " is not a 16-bit floating dtype"
                    + "\n  fix: use BFLOAT16, or FLOAT16 with a GradScaler.");
        }
    }

    /**
     * {@return the 16-bit dtype that is on for a kind of device on this thread, or null}
     *
     * @param device a kind of device
     */
    public static @Nullable DType dtype(DeviceType device) {
        Objects.requireNonNull(device, "device");
        AutocastLayer layer = current(Context.current());
        return layer == null ? null : layer.lower(device);
    }

    private static @Nullable AutocastLayer current(Context context) {
        return context.autocast() instanceof AutocastLayer layer ? layer : null;
    }

    /**
     * Ends the mode; what was on before is on again. Idempotent.
     *
     * @throws IllegalStateException on another thread than the one that opened it
     */
    @Override
    public void close() {
        mode.close();
    }
}
