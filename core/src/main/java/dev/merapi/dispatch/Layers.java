// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import dev.merapi.layer.DispatchLayer;
import java.util.Objects;
import java.util.ServiceLoader;

/**
 * The layers that a call goes through on its way to a kernel. This is their order, the outermost first:
 *
 * <ol>
 *   <li>layers that were pushed, the last one first
 *   <li>autocast, so that what it converts is recorded
 *   <li>autograd
 *   <li>layers that were pushed and {@linkplain DispatchLayer#isBelowAutograd say} that they stand here, the last one first:
 *       they see an op when it is computed, whether recorded or not, and after autocast; views and ops that are computed by
 *       others do not come here
 *   <li>checks
 * </ol>
 *
 * Within a kernel no layer is active. A backward pass starts at the top again, less autocast, so that layers see the ops of
 * its formulas (but not backward kernels, which are no ops); one that a layer starts itself stays below that layer.
 */
public final class Layers {
    static final GraphLayer AUTOGRAD = autograd();
    /** A thread's level when nothing is masked. */
    static final int ALL = Short.MAX_VALUE;
    /** A thread's level within a kernel. */
    static final int NONE = -1;

    private Layers() {}

    /**
     * Puts a layer on this thread until the returned mode is closed.
     *
     * <pre>{@code
     * try (ThreadMode on = Layers.push(new Logging())) {
     *     model.forward(x);
     * }
     * }</pre>
     *
     * <p>One that is pushed by code that runs below other layers (by a layer, or within a kernel) becomes active where
     * those are passed again.
     *
     * @throws IllegalStateException if {@code layer} stands below autograd and a call is in progress that layers see, or if
     *     thousands were pushed and not closed
     */
    public static ThreadMode push(DispatchLayer layer) {
        Objects.requireNonNull(layer, "layer");
        Context context = Context.current();
        String name = "layer " + layer.getClass().getName();
        if (layer.isBelowAutograd() && context.isInLayer()) {
            throw new IllegalStateException(name + ": stands below autograd, and a call is in progress above it"
                    + "\n  fix: push it before the call.");
        }
        context.setLayers(context.layers().with(name, layer));
        return ThreadMode.ofLayer(
                context, name, () -> context.setLayers(context.layers().without(layer)));
    }

    // ---------------------------------------------------------------- where a call stands

    /**
     * Where a call stands, in one number without an object.
     *
     * @param entry the level at which it came in, where its parts start if it has some
     * @param next index of the next layer
     */
    static int at(int entry, int next) {
        return entry << Short.SIZE | next & 0xffff;
    }

    static int entry(int below) {
        return below >> Short.SIZE;
    }

    static int next(int below) {
        return (short) below;
    }

    private static GraphLayer autograd() {
        return ServiceLoader.load(GraphLayer.class, Layers.class.getClassLoader())
                .findFirst()
                .orElseThrow(
                        () -> new IllegalStateException(
                                "merapi: the autograd layer is not found"
                                        + "\n  fix: keep META-INF/services of merapi-core where its classes are packed into another jar."));
    }
}
