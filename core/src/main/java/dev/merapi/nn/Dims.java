// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import java.util.Arrays;
import java.util.Objects;

/** Numbers for dimensions: one for all, or one for each. */
final class Dims {
    private Dims() {}

    static long[] each(String layer, String argument, int dims, long least, long[] given) {
        Objects.requireNonNull(given, argument);
        if (given.length != 1 && given.length != dims) {
            throw new ShapeException(Message.of(
                            layer,
                            argument + " takes one number or " + dims
                                    + ", one for each dimension after the channels, but" + " got "
                                    + Arrays.toString(given))
                    .argument(argument));
        }
        for (long size : given) {
            Init.atLeast(least, layer, argument, size);
        }
        long[] all = Arrays.copyOf(given, dims);
        if (given.length == 1) {
            Arrays.fill(all, given[0]);
        }
        return all;
    }
}
