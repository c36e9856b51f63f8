// SPDX-License-Identifier: Apache-2.0
package dev.merapi.train;

import dev.merapi.data.DataLoader;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;

/** Batches of one epoch after the other. */
final class Batches<B> {
    private final DataLoader<B> loader;
    private Iterator<B> epoch;

    Batches(DataLoader<B> loader) {
        this.loader = loader;
        this.epoch = loader.iterator();
    }

    List<B> next(int count) {
        List<B> batches = new ArrayList<>();
        while (batches.size() < count) {
            if (!epoch.hasNext()) {
                epoch = loader.iterator();
                if (!epoch.hasNext()) {
                    throw new NoSuchElementException("trainer: the loader has no batches");
                }
            }
            batches.add(epoch.next());
        }
        return batches;
    }
}
