// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import dev.merapi.autograd.SavedTensorHooks;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.ThreadMode;
import org.jspecify.annotations.Nullable;

/** The pairs of hooks of a thread: one, and those around it. */
public record HookStack(
        SavedTensorHooks.Pair pair, @Nullable HookStack outer) {
    /** Those that are installed, the innermost first; null for none. */
    public static @Nullable HookStack current(Context context) {
        return (HookStack) context.savedTensorHooks();
    }

    /** Installs a pair inside of those that there are. */
    public static ThreadMode push(Context context, SavedTensorHooks.Pair pair) {
        HookStack before = current(context);
        ThreadMode mode = ThreadMode.begin(context, "saved-tensor hooks", () -> context.setSavedTensorHooks(before));
        context.setSavedTensorHooks(new HookStack(pair, before));
        return mode;
    }
}
