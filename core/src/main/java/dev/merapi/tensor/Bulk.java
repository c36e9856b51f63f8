// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.types.DType;

/** Elements between Java arrays and tensors that Java can see: at memory speed where no conversion is needed. */
final class Bulk {
    private Bulk() {}

    /** Copies all elements of {@code from}, in row-major order and converted, into an array from {@code at} on. */
    static void get(Tensor from, Object array, int at) {
        Elements e = Elements.of(from);
        int n = (int) e.numel();
        if (from.isContiguous() && matches(from.dtype(), array)) {
            e.withBytes(bytes -> {
                if (array instanceof float[] a) {
                    bytes.asFloatBuffer().get(a, at, n);
                } else if (array instanceof double[] a) {
                    bytes.asDoubleBuffer().get(a, at, n);
                } else if (array instanceof int[] a) {
                    bytes.asIntBuffer().get(a, at, n);
                } else if (array instanceof long[] a) {
                    bytes.asLongBuffer().get(a, at, n);
                } else if (array instanceof short[] a) {
                    bytes.asShortBuffer().get(a, at, n);
                } else {
                    bytes.get((byte[]) array, at, n);
                }
            });
            return;
        }
        for (int i = 0; i < n; i++) {
            if (array instanceof float[] a) {
                a[at + i] = (float) e.getDouble(i);
            } else if (array instanceof double[] a) {
                a[at + i] = e.getDouble(i);
            } else if (array instanceof int[] a) {
                a[at + i] = (int) e.getLong(i);
            } else if (array instanceof long[] a) {
                a[at + i] = e.getLong(i);
            } else if (array instanceof short[] a) {
                a[at + i] = (short) e.getLong(i);
            } else if (array instanceof boolean[] a) {
                a[at + i] = e.getDouble(i) != 0;
            } else {
                ((byte[]) array)[at + i] = (byte) e.getLong(i);
            }
        }
    }

    /** Fills all elements of {@code to}, in row-major order and converted, from an array from {@code at} on. */
    static void put(Object array, int at, Tensor to) {
        Elements e = Elements.of(to);
        int n = (int) e.numel();
        if (to.isContiguous() && matches(to.dtype(), array)) {
            e.withBytes(bytes -> {
                if (array instanceof float[] a) {
                    bytes.asFloatBuffer().put(a, at, n);
                } else if (array instanceof double[] a) {
                    bytes.asDoubleBuffer().put(a, at, n);
                } else if (array instanceof int[] a) {
                    bytes.asIntBuffer().put(a, at, n);
                } else if (array instanceof long[] a) {
                    bytes.asLongBuffer().put(a, at, n);
                } else if (array instanceof short[] a) {
                    bytes.asShortBuffer().put(a, at, n);
                } else {
                    bytes.put((byte[]) array, at, n);
                }
            });
            return;
        }
        for (int i = 0; i < n; i++) {
            if (array instanceof float[] a) {
                e.setDouble(i, a[at + i]);
            } else if (array instanceof double[] a) {
                e.setDouble(i, a[at + i]);
            } else if (array instanceof int[] a) {
                e.setLong(i, a[at + i]);
            } else if (array instanceof long[] a) {
                e.setLong(i, a[at + i]);
            } else if (array instanceof short[] a) {
                e.setLong(i, a[at + i]);
            } else if (array instanceof boolean[] a) {
                e.setLong(i, a[at + i] ? 1 : 0);
            } else {
                e.setLong(i, ((byte[]) array)[at + i]);
            }
        }
    }

    private static boolean matches(DType dtype, Object array) {
        return switch (dtype) {
            case FLOAT32 -> array instanceof float[];
            case FLOAT64 -> array instanceof double[];
            case INT32 -> array instanceof int[];
            case INT64 -> array instanceof long[];
            case INT16 -> array instanceof short[];
            case INT8, UINT8, BOOL -> array instanceof byte[];
            default -> false;
        };
    }
}
