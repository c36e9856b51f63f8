// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

/**
 * A named scalar parameter of a pointwise op, given at each call; never part of a cache key. The schema, errors and calls by
 * name know it by its name.
 *
 * @param name letters, digits and _, other than {@code x}, {@code y}, {@code z} and what else an op's arguments are
 *     called
 */
public record Param(String name) {
    /**
     * @param name as texts and errors call it
     * @return a parameter of that name
     */
    public static Param scalar(String name) {
        return new Param(name);
    }
}
