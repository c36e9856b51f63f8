// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.ThreadMode;
import dev.merapi.tensor.Tensor;
import java.util.function.BiFunction;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The pairs of hooks of a thread: one, and those around it.
 *
 * @param pack what is saved and the name of the op that saves it, to what waits in its place
 * @param unpack that again to a tensor
 */
public record HookStack(
        BiFunction<Tensor, String, Object> pack,
        Function<Object, Tensor> unpack,
        @Nullable HookStack outer) {
    /** Those that are installed, the innermost first; null for none. */
    public static @Nullable HookStack current(Context context) {
        return (HookStack) context.savedTensorHooks();
    }

    /** Installs a pair inside of those that there are. */
    public static ThreadMode push(
            Context context, BiFunction<Tensor, String, Object> pack, Function<Object, Tensor> unpack) {
        HookStack before = current(context);
        ThreadMode mode = ThreadMode.begin(context, "saved-tensor hooks", () -> context.setSavedTensorHooks(before));
        context.setSavedTensorHooks(new HookStack(pack, unpack, before));
        return mode;
    }
}
