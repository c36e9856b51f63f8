// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import java.lang.reflect.Array;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Java arrays of arrays as tensors. */
final class NestedArrays {
    private NestedArrays() {}

    static Tensor toTensor(@Nullable Object array) {
        if (array == null) {
            throw new DTypeException("of: cannot make a tensor of null");
        }
        List<Long> sizes = new ArrayList<>();
        Class<?> type = array.getClass();
        Object first = array;
        long count = 1;
        while (type.isArray()) {
            long size = first == null ? 0 : Array.getLength(first);
            sizes.add(size);
            count *= size;
            first = size == 0 ? null : Array.get(first, 0);
            type = type.getComponentType();
        }
        if (sizes.isEmpty() || !type.isPrimitive()) {
            throw new DTypeException(
                    "of: cannot make a tensor of " + array.getClass().getSimpleName()
                            + "\n  allowed: arrays, of any depth, of float, double, int, long, short, byte, boolean");
        }
        long[] shape = sizes.stream().mapToLong(Long::longValue).toArray();
        Object flat = Array.newInstance(type, Math.toIntExact(count));
        fill(array, shape, 0, flat, 0, "");
        if (flat instanceof float[] v) {
            return Tensor.of(v, shape);
        } else if (flat instanceof double[] v) {
            return Tensor.of(v, shape);
        } else if (flat instanceof int[] v) {
            return Tensor.of(v, shape);
        } else if (flat instanceof long[] v) {
            return Tensor.of(v, shape);
        } else if (flat instanceof short[] v) {
            return Tensor.of(v, shape);
        } else if (flat instanceof byte[] v) {
            return Tensor.of(v, shape);
        } else if (flat instanceof boolean[] v) {
            return Tensor.of(v, shape);
        }
        throw new DTypeException(
                "of: there is no dtype for " + type + "\n  allowed: float, double, int, long, short, byte, boolean");
    }

    private static int fill(@Nullable Object part, long[] shape, int depth, Object flat, int at, String where) {
        if (part == null) {
            throw new ShapeException("of: array" + where + " is null");
        }
        int length = Array.getLength(part);
        if (length != shape[depth]) {
            throw new ShapeException("of: array" + where + " has length " + length
                    + ", but the first one of its depth has " + shape[depth]);
        }
        if (depth == shape.length - 1) {
            System.arraycopy(part, 0, flat, at, length);
            return at + length;
        }
        int next = at;
        for (int i = 0; i < length; i++) {
            next = fill(Array.get(part, i), shape, depth + 1, flat, next, where + "[" + i + "]");
        }
        return next;
    }
}
