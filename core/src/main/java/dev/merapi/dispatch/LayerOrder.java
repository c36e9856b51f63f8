// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import java.util.ServiceLoader;

/** Where the layers of a call stand; {@link dev.merapi.layer.Layers} has their order in words. */
public final class LayerOrder {
    /** The one autograd layer, which is at the same place in every thread's order. */
    public static final GraphLayer AUTOGRAD = autograd();
    /** A thread's level when nothing is masked. */
    static final int ALL = Short.MAX_VALUE;
    /** A thread's level within a kernel. */
    static final int NONE = -1;

    private LayerOrder() {}

    /**
     * As {@link dev.merapi.layer.Layers#push}.
     *
     * @param name what messages call it
     */
    public static ThreadMode push(String name, CallLayer layer) {
        return push(name, layer, false);
    }

    /**
     * As {@link #push}, for work of the engine: modes from before are not closed until it is over.
     *
     * @param work what messages call it
     */
    public static ThreadMode pushFor(String work, CallLayer layer) {
        return push(work, layer, true);
    }

    private static ThreadMode push(String name, CallLayer layer, boolean work) {
        Context context = Context.current();
        if (layer.isBelowAutograd() && context.isInLayer()) {
            throw new IllegalStateException(name + ": stands below autograd, and a call is in progress above it"
                    + "\n  fix: push it before the call.");
        }
        context.setLayers(context.layers().with(name, layer));
        return ThreadMode.ofLayer(
                context, name, work, () -> context.setLayers(context.layers().without(layer)));
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
        return ServiceLoader.load(GraphLayer.class, LayerOrder.class.getClassLoader())
                .findFirst()
                .orElseThrow(
                        () -> new IllegalStateException(
                                "merapi: the autograd layer is not found"
                                        + "\n  fix: keep META-INF/services of merapi-core where its classes are packed into another jar."));
    }
}
