// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

/**
 * A named scalar parameter of a pointwise op, given at each call; never part of a cache key. The schema, errors and calls by
 * name know it by its name.
 */
public record Param(String name) {
    public static Param scalar(String name) {
        return new Param(name);
    }
}
