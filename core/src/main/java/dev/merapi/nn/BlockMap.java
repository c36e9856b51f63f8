// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;

/**
 * Blocks by name.
 *
 * @param <B> what they are
 */
public final class BlockMap<B extends Block> extends Block {
    private final Map<String, B> blocks = new LinkedHashMap<>();

    /** An empty map. */
    public BlockMap() {}

    /**
     * Adds a block.
     *
     * @param name without dots, which no other one has
     * @param block of this map from now on
     * @return this map
     */
    public BlockMap<B> put(String name, B block) {
        Objects.requireNonNull(name, "name");
        blocks.put(name, child(name, block));
        return this;
    }

    /**
     * The block of a name.
     *
     * @param name which one
     * @return the block
     * @throws IllegalArgumentException if there is none
     */
    public B get(String name) {
        B block = blocks.get(Objects.requireNonNull(name, "name"));
        if (block == null) {
            throw new IllegalArgumentException(
                    "BlockMap: there is no block '" + name + "', there are " + blocks.keySet());
        }
        return block;
    }

    /**
     * All of them.
     *
     * @return an unmodifiable map, in the order in which they were added
     */
    public Map<String, B> blocks() {
        return Collections.unmodifiableMap(blocks);
    }
}
