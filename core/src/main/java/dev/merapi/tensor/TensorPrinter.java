// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

/** Text of a tensor. */
final class TensorPrinter {
    private TensorPrinter() {}

    static String print(Tensor t) {
        if (t.isMeta() || t.isClosed() || t.numel() > 1000) {
            return t.describe() + (t.isMeta() ? " meta" : t.isClosed() ? " closed" : "");
        }
        StringBuilder s = new StringBuilder("[");
        Elements e = Elements.of(t);
        for (long i = 0; i < t.numel(); i++) {
            s.append(i == 0 ? "" : ", ").append(t.dtype().isFloating() ? String.valueOf(e.getDouble(i)) : e.getLong(i));
        }
        return s + "] " + t.describe();
    }
}
