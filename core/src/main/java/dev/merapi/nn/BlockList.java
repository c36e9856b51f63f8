// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.Objects;

/**
 * Blocks by number, named by their position: what a model goes through in a way of its own. {@link Sequential} goes through them
 * by itself.
 *
 * @param <B> what they are
 */
public final class BlockList<B extends Block> extends Block implements Iterable<B> {
    private final List<B> blocks = new ArrayList<>();

    /** An empty list. */
    public BlockList() {}

    /**
     * A list of these.
     *
     * @param blocks in order
     */
    public BlockList(List<? extends B> blocks) {
        Objects.requireNonNull(blocks, "blocks").forEach(b -> Objects.requireNonNull(b, "blocks"));
        blocks.forEach(this::add);
    }

    /**
     * Adds a block at the end.
     *
     * @param block of this list from now on
     * @return this list
     */
    public BlockList<B> add(B block) {
        blocks.add(child(String.valueOf(blocks.size()), block));
        return this;
    }

    /**
     * The block at a position.
     *
     * @param position from 0
     * @return the block
     * @throws IllegalArgumentException if there is none
     */
    public B get(int position) {
        if (position < 0 || position >= blocks.size()) {
            throw new IllegalArgumentException(
                    "BlockList: there is no block " + position + ", there are " + blocks.size());
        }
        return blocks.get(position);
    }

    /**
     * How many there are.
     *
     * @return a number, at least 0
     */
    public int size() {
        return blocks.size();
    }

    /** In order. */
    @Override
    public Iterator<B> iterator() {
        return Collections.unmodifiableList(blocks).iterator();
    }
}
