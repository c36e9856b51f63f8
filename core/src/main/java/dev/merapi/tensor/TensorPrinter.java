// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.dispatch.Context;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.util.List;

/**
 * Text of a tensor as NumPy would print it, then dtype, shape and device:
 *
 * <pre>
 * [[0.5000, 1.0000],
 *  [2.0000, 3.2500]]  float32[2, 2] cpu
 * </pre>
 *
 * <p>Above {@value #SUMMARY} elements only three at each edge of a dimension are read. Never throws.
 */
final class TensorPrinter {
    private static final long SUMMARY = 1000;
    private static final int EDGE = 3;
    private static final int WIDTH = 100;

    private TensorPrinter() {}

    static String print(Tensor t) {
        if (t.isClosed() || t.isMeta()) {
            return (t.isClosed() ? "closed " : "meta ") + t.describe();
        }
        StringBuilder s = new StringBuilder();
        try {
            if (t.numel() == 0) {
                s.append("[]");
            } else {
                appendElements(t, s);
            }
        } catch (RuntimeException e) { // closed by another thread, or a device that failed: toString must not
            s.append("? (")
                    .append(String.valueOf(e.getMessage()).lines().findFirst().orElse(""))
                    .append(')');
        }
        return s.append("  ")
                .append(t.describe())
                .append(t.requiresGrad() ? " requires grad" : "")
                .toString();
    }

    private static void appendElements(Tensor t, StringBuilder s) {
        boolean summary = t.numel() > SUMMARY;
        long[][] shown = new long[t.rank()][];
        long[] sizes = new long[t.rank()];
        for (int d = 0; d < shown.length; d++) {
            shown[d] = shown(t.size(d), summary);
            sizes[d] = shown[d].length;
        }
        List<String> texts = ElementFormat.texts(t.dtype(), values(t, shown, Shape.of(sizes)));
        int width = texts.stream().mapToInt(String::length).max().orElse(0);
        append(t, shown, 0, 0, texts, width, s);
    }

    /** The indices of a dimension that are printed. */
    private static long[] shown(long size, boolean summary) {
        boolean all = !summary || size <= 2 * EDGE;
        long[] indices = new long[(int) (all ? size : 2 * EDGE)];
        for (int i = 0; i < indices.length; i++) {
            indices[i] = all || i < EDGE ? i : size - 2 * EDGE + i;
        }
        return indices;
    }

    /** The elements that are printed, in row-major order: as longs if the dtype is not floating. */
    private static Number[] values(Tensor t, long[][] shown, Shape shape) {
        Number[] values = new Number[(int) shape.numel()];
        collect(t, t.layout(), shown, 0, values, new int[1]);
        return values;
    }

    private static void collect(Tensor t, Layout layout, long[][] shown, int depth, Number[] into, int[] next) {
        if (depth == shown.length || t.numel() <= SUMMARY) {
            read(t, layout, into, next);
            return;
        }
        for (long i : shown[depth]) {
            // Keeps the dimension, so that depth goes on to name it.
            collect(t, layout.slice(depth, i, i + 1, 1), shown, depth + 1, into, next);
        }
    }

    private static void read(Tensor t, Layout layout, Number[] into, int[] next) {
        try (Tensor view = t.viewAs(layout, Context.current())) {
            boolean floating = t.dtype().isFloating();
            HostCopy.read(view, (seen, start) -> {
                Elements e = Elements.of(seen);
                for (long i = 0; i < e.numel(); i++) {
                    into[next[0]++] = floating ? (Number) e.getDouble(i) : (Number) e.getLong(i);
                }
            });
        }
    }

    /** Prints one dimension; returns the position after its last text. */
    private static int append(
            Tensor t, long[][] shown, int depth, int at, List<String> texts, int width, StringBuilder s) {
        if (depth == shown.length) {
            s.append(" ".repeat(width - texts.get(at).length())).append(texts.get(at));
            return at + 1;
        }
        boolean last = depth == shown.length - 1;
        boolean cut = shown[depth].length < t.size(depth);
        String newLine = "\n".repeat(Math.max(1, shown.length - 1 - depth)) + " ".repeat(depth + 1);
        int perLine = Math.max(1, (WIDTH - depth) / (width + 2));
        s.append('[');
        int next = at;
        int column = 0;
        for (int i = 0; i < shown[depth].length; i++) {
            if (i > 0) {
                column++;
                boolean wraps = last && column == perLine;
                s.append(last && !wraps ? ", " : "," + (last ? "\n" + " ".repeat(depth + 1) : newLine));
                column = wraps ? 0 : column;
            }
            if (cut && i == EDGE) {
                s.append(last ? "..., " : "...," + newLine);
                column++;
            }
            next = append(t, shown, depth + 1, next, texts, width, s);
        }
        s.append(']');
        return next;
    }
}
