// SPDX-License-Identifier: Apache-2.0
package dev.merapi.types;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;

/**
 * Exact arithmetic of sizes, strides and indices. All of it that has numbers from outside goes through here: a sum that
 * wraps around is a small size that nobody asked for, and memory is reached by it.
 */
public final class Sizes {
    private Sizes() {}

    /**
     * {@return a + b}
     *
     * @param a any number
     * @param b any number
     * @throws ShapeException if the sum leaves 64 bits
     */
    public static long add(long a, long b) {
        long sum = a + b;
        if (((a ^ sum) & (b ^ sum)) < 0) {
            throw tooLarge(a + (b < 0 ? " - " + Long.toString(b).substring(1) : " + " + b));
        }
        return sum;
    }

    /**
     * {@return a − b}
     *
     * @param a any number
     * @param b any number
     * @throws ShapeException if the difference leaves 64 bits
     */
    public static long subtract(long a, long b) {
        long difference = a - b;
        if (((a ^ b) & (a ^ difference)) < 0) {
            throw tooLarge(a + " - " + b);
        }
        return difference;
    }

    /**
     * {@return a · b}
     *
     * @param a any number
     * @param b any number
     * @throws ShapeException if the product leaves 64 bits
     */
    public static long multiply(long a, long b) {
        long product = a * b;
        if (Math.multiplyHigh(a, b) != product >> 63) {
            throw tooLarge(a + " * " + b);
        }
        return product;
    }

    /**
     * {@return a/b rounded up; nothing overflows}
     *
     * @param a at least 0
     * @param b at least 1
     */
    public static long divideUp(long a, long b) {
        return a / b + (a % b == 0 ? 0 : 1);
    }

    private static ShapeException tooLarge(String what) {
        return new ShapeException(
                Message.of("sizes: " + what + " leaves 64 bits").fix("smaller sizes."));
    }
}
