// SPDX-License-Identifier: Apache-2.0
package dev.merapi.types;

import java.util.Objects;

/** Bit conversions of float16 and bfloat16, round to nearest even; the JDK has none before version 20. */
public final class SmallFloat {
    private SmallFloat() {}

    /**
     * {@return the float32 value of IEEE 754 binary16 bits; exact}
     *
     * @param bits sign, 5 bits of exponent, 10 of fraction
     */
    public static float halfToFloat(short bits) {
        int h = bits & 0xffff;
        int sign = (h & 0x8000) << 16;
        int exponent = h >>> 10 & 0x1f;
        int fraction = h & 0x3ff;
        if (exponent == 0) {
            float magnitude = fraction * 0x1p-24f;
            return sign == 0 ? magnitude : -magnitude;
        }
        int e = exponent == 31 ? 255 : exponent + 112;
        return Float.intBitsToFloat(sign | e << 23 | fraction << 13);
    }

    /**
     * {@return the bits of the nearest binary16, ties to even; overflow gives infinity, NaN stays NaN}
     *
     * @param value any number
     */
    public static short floatToHalf(float value) {
        int f = Float.floatToRawIntBits(value);
        int sign = f >>> 16 & 0x8000;
        int magnitude = f & 0x7fffffff;
        if (magnitude > 0x7f800000) {
            return (short) (sign | 0x7e00 | magnitude >>> 13 & 0x3ff);
        }
        if (magnitude >= 0x477ff000) { // 65520 and above round to infinity
            return (short) (sign | 0x7c00);
        }
        if (magnitude < 0x38800000) { // below 2^-14: subnormal or zero
            // Adding 0.5 aligns the last kept bit with float32's last bit; the hardware then rounds to even.
            int rounded = Float.floatToRawIntBits(Float.intBitsToFloat(magnitude) + 0.5f) - 0x3f000000;
            return (short) (sign | rounded);
        }
        int odd = magnitude >>> 13 & 1;
        return (short) (sign | magnitude - 0x38000000 + 0xfff + odd >>> 13);
    }

    /**
     * {@return the float32 value of bfloat16 bits; exact}
     *
     * @param bits the upper half of a float32's
     */
    public static float bfloatToFloat(short bits) {
        return Float.intBitsToFloat(bits << 16);
    }

    /**
     * {@return the bits of the nearest bfloat16, ties to even; NaN stays NaN}
     *
     * @param value any number
     */
    public static short floatToBfloat(float value) {
        int f = Float.floatToRawIntBits(value);
        if ((f & 0x7fffffff) > 0x7f800000) {
            return (short) (f >>> 16 | 0x40);
        }
        return (short) (f + 0x7fff + (f >>> 16 & 1) >>> 16);
    }

    /**
     * Nearest value of a floating dtype to a double, rounded once: through float32 a half-way case of the small type
     * could be rounded twice, so the float32 step rounds to odd.
     *
     * @param value any number
     * @param dtype floating
     * @return a number that the dtype holds exactly
     */
    public static double round(double value, DType dtype) {
        Objects.requireNonNull(dtype, "dtype");
        return switch (dtype) {
            case FLOAT64 -> value;
            case FLOAT32 -> (float) value;
            case FLOAT16 -> halfToFloat(floatToHalf(toOdd(value)));
            case BFLOAT16 -> bfloatToFloat(floatToBfloat(toOdd(value)));
            default -> throw new IllegalArgumentException("round: " + dtype + " is not a floating dtype");
        };
    }

    private static float toOdd(double value) {
        float f = (float) value;
        if (f == value || Double.isNaN(value) || Float.isInfinite(f)) {
            return f;
        }
        int bits = Float.floatToRawIntBits(f);
        if ((bits & 1) != 0) {
            return f;
        }
        boolean tooLarge = Math.abs((double) f) > Math.abs(value);
        return Float.intBitsToFloat(tooLarge ? bits - 1 : bits + 1);
    }
}
