// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.dispatch.BackendChoice;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.GraphCapture;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.storage.Storage;
import dev.merapi.types.Device;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.lang.ref.Reference;
import java.lang.reflect.Array;

/**
 * Elements of any tensor to and from the Java heap. Memory that Java cannot see (another device, segments above 2 GiB) is
 * taken in pieces through small tensors that it can see; nothing is left behind.
 */
final class HostCopy {
    /** What every JVM can make; some stop a few elements before 2³¹ − 1. */
    private static final int LONGEST_ARRAY = Integer.MAX_VALUE - 8;

    /** Elements of a piece. */
    private static final long PIECE = 1 << 22;

    private HostCopy() {}

    /** Takes or gives consecutive elements, the first of which has row-major index {@code start} in the whole. */
    @FunctionalInterface
    interface Part {
        void at(Tensor seen, long start);
    }

    /** Hands out the elements in row-major order, as tensors that Java can see. */
    static void read(Tensor t, Part part) {
        visit(t, part, 0, false);
    }

    /** Fills a tensor, whatever its layout, from a Java array of elements in row-major order. */
    static void write(Tensor t, Object array) {
        visit(t, (seen, start) -> Bulk.put(array, (int) start, seen), 0, true);
    }

    /** A Java array of this type with all elements in row-major order, converted. */
    static Object array(Tensor t, Class<?> type) {
        if (t.numel() > LONGEST_ARRAY) {
            throw new ShapeException(Message.of("export: " + t.describe() + " has " + t.numel()
                            + " elements, a Java array at most " + LONGEST_ARRAY)
                    .fix("read it in parts, with slice(dim, from, to)."));
        }
        Object array = Array.newInstance(type, (int) t.numel());
        read(t, (seen, start) -> Bulk.get(seen, array, (int) start));
        return array;
    }

    private static void visit(Tensor t, Part part, long start, boolean writing) {
        if (t.numel() == 0) {
            return;
        }
        if (t.isClosed()) {
            t.requireOpen(caller(), "this");
        }
        Storage storage = t.storage();
        Context context = Context.current();
        GraphCapture capture = context.graphCapture();
        if (capture != null && capture.device() == t.device()) {
            throw capture.refused(caller(), (writing ? "writes" : "reads") + " elements of " + t.describe());
        }
        if (storage.isJavaVisible()) {
            context.memory().enter(); // nobody frees the memory while it is being copied
            try {
                part.at(t, start);
            } finally {
                context.memory().exit();
            }
        } else {
            pieces(t, part, start, writing, context);
        }
    }

    /** The method of this package that was called from outside, such as {@code item}. */
    private static String caller() {
        String here = HostCopy.class.getPackageName() + ".";
        return StackWalker.getInstance()
                .walk(frames -> frames.takeWhile(f -> f.getClassName().startsWith(here))
                        .reduce((inner, outer) -> outer)
                        .map(StackWalker.StackFrame::getMethodName)
                        .orElse("read"));
    }

    private static void pieces(Tensor t, Part part, long start, boolean writing, Context context) {
        long n = t.numel();
        if (n <= PIECE) {
            piece(t, part, start, writing, context);
            return;
        }
        int dim = 0;
        while (t.size(dim) == 1) {
            dim++;
        }
        long inner = n / t.size(dim);
        long step = Math.max(1, PIECE / inner);
        for (long i = 0; i < t.size(dim); i += step) {
            Layout layout = t.layout().slice(dim, i, Math.min(t.size(dim), i + step), 1);
            try (Tensor view = t.viewAs(layout, context)) {
                pieces(view, part, start + i * inner, writing, context);
            }
        }
    }

    private static void piece(Tensor t, Part part, long start, boolean writing, Context context) {
        Shape shape = t.shape();
        int level = context.descendBelowAutograd();
        try (Tensor seen = Tensor.allocate(shape, t.dtype(), Device.CPU)) {
            if (writing) {
                part.at(seen, start);
                transfer(seen, t, context);
            } else {
                transfer(t, seen, context);
                part.at(seen, start);
            }
        } finally {
            context.restoreLevel(level);
        }
    }

    /** Both stay where they are meanwhile; what is only needed on the way goes before the next piece. */
    private static void transfer(Tensor from, Tensor to, Context context) {
        context.memory().enter();
        try {
            from.requireOpen();
            to.requireOpen();
            transfer(from, to);
        } finally {
            context.memory().exit();
            Reference.reachabilityFence(from);
            Reference.reachabilityFence(to);
        }
    }

    private static void transfer(Tensor from, Tensor to) {
        if (from.device() == to.device()) {
            to.copy_(from);
            return;
        }
        Device other = from.device() == Device.CPU ? to.device() : from.device();
        if (from.device() == other && !from.isContiguous()) {
            try (Tensor dense = from.contiguous()) {
                BackendChoice.of(other.type()).copy(dense, to);
            }
        } else if (to.device() == other && !to.isContiguous()) {
            try (Tensor dense = Tensor.allocate(to.shape(), to.dtype(), other)) {
                BackendChoice.of(other.type()).copy(from, dense);
                to.copy_(dense);
            }
        } else {
            BackendChoice.of(other.type()).copy(from, to);
        }
    }
}
