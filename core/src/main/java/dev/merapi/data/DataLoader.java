// SPDX-License-Identifier: Apache-2.0
package dev.merapi.data;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Observer;
import dev.merapi.op.tree.Tree;
import dev.merapi.random.Generator;
import dev.merapi.state.StateDict;
import dev.merapi.state.Stateful;
import dev.merapi.tensor.StateReader;
import dev.merapi.types.Device;
import java.util.Arrays;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.function.LongFunction;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Batches of a dataset, made on a thread of the loader's while the model computes. Iterating once gives one epoch; the
 * next iterator gives the next epoch. A batch belongs to the scope that is open where it is taken.
 *
 * <pre>{@code
 * try (var loader = DataLoader.of(dataset, 32).shuffle(7).dropLast()) {
 *     for (int epoch = 0; epoch < 10; epoch++) {
 *         for (Labelled batch : loader) { … }
 *     }
 * }
 * }</pre>
 *
 * <p>A dataset or sampler that draws random numbers by Merapi's ops gets those of (seed, epoch, number of the batch), where
 * the seed is that of the generator of the thread that begins the epoch: the same batches with and without a thread, in each
 * run, and after {@link #loadStateDict}; and the model's own numbers do not depend on them.
 *
 * <p>{@link #stateDict} and {@link #loadStateDict} continue in the middle of an epoch with the batches that would have come.
 * For one thread at a time.
 *
 * @param <B> what a batch is
 */
public final class DataLoader<B> implements Iterable<B>, Stateful, AutoCloseable {
    private final Dataset<B> dataset;
    private final int batchSize;
    private Sampler sampler = Sampler.sequential();
    private boolean dropLast;
    private int prefetch = 2;
    private @Nullable Device device;
    /** The epoch that is running or, between epochs, the next one, and how many of its batches were taken. */
    private long epoch;

    private long taken;
    private @Nullable Prefetch<B> running;

    private DataLoader(Dataset<B> dataset, int batchSize) {
        if (batchSize < 1) {
            throw new IllegalArgumentException("data loader: batch size " + batchSize + " must be at least 1");
        }
        this.dataset = dataset;
        this.batchSize = batchSize;
    }

    /**
     * All samples in order, once an epoch; the methods below change that before the first epoch.
     *
     * @param <B> what a batch is
     * @param dataset makes batches of indices, on threads of the loader's
     * @param batchSize how many samples a batch has, at least 1; the last one of an epoch may have fewer
     * @return a loader
     */
    public static <B> DataLoader<B> of(Dataset<B> dataset, int batchSize) {
        return new DataLoader<>(dataset, batchSize);
    }

    /**
     * All samples in another random order each epoch, determined by the seed.
     *
     * @param seed together with the number of the epoch it gives the order
     * @return this loader
     */
    public DataLoader<B> shuffle(long seed) {
        return sampler(Sampler.shuffled(seed));
    }

    /**
     * The order of samples; as they come if nothing is said.
     *
     * @param newSampler gives the indices of each epoch
     * @return this loader
     */
    public DataLoader<B> sampler(Sampler newSampler) {
        sampler = newSampler;
        return this;
    }

    /**
     * Leaves out the last batch of an epoch if it is smaller than the others.
     *
     * @return this loader
     */
    public DataLoader<B> dropLast() {
        dropLast = true;
        return this;
    }

    /**
     * How many batches may be ready ahead; 2 if nothing is said. 0 makes them where they are taken.
     *
     * @param batches at least 0
     * @return this loader
     */
    public DataLoader<B> prefetch(int batches) {
        if (batches < 0) {
            throw new IllegalArgumentException("data loader: cannot prefetch " + batches + " batches");
        }
        prefetch = batches;
        return this;
    }

    /**
     * Brings each batch to a device; where it has streams, while the model computes. For batches that are tensors, or
     * lists, maps or public records of tensors.
     *
     * @param target where batches are when they are taken
     * @return this loader
     */
    public DataLoader<B> to(Device target) {
        device = target;
        return this;
    }

    /**
     * Where the loader stands: {@code epoch} and {@code batch}, how many of its batches were taken; and what these numbers
     * depend on, {@code samples}, {@code batch_size} and {@code drop_last}.
     */
    @Override
    public StateDict stateDict() {
        return new StateDict()
                .put("epoch", epoch)
                .put("batch", taken)
                .put("samples", dataset.size())
                .put("batch_size", batchSize)
                .put("drop_last", dropLast);
    }

    /**
     * The next iterator goes on from there; one that is running ends. The sampler must be the same.
     *
     * @throws dev.merapi.error.StateDictException if it is the state of a loader with other samples or options; nothing is
     *     changed then
     */
    @Override
    public void loadStateDict(StateDict state) {
        StateReader in = new StateReader("data loader", state);
        long newEpoch = in.integer("epoch");
        long newBatch = in.integer("batch");
        in.require(newEpoch >= 0, "epoch", newEpoch + " is negative");
        in.require(newBatch >= 0, "batch", newBatch + " is negative");
        in.same("samples", dataset.size());
        in.same("batch_size", (long) batchSize);
        in.same("drop_last", dropLast);
        in.copy();
        stop();
        epoch = newEpoch;
        taken = newBatch;
    }

    /**
     * The rest of the epoch that was begun, or else the next epoch. Ends the iterator before it.
     *
     * @throws IllegalArgumentException if the sampler chooses samples that there are not
     */
    @Override
    public Iterator<B> iterator() {
        if (running != null) { // it was left before its end: a new epoch begins
            stop();
            epoch++;
            taken = 0;
        }
        Context context = Context.current();
        Generator random = context.generator().foldIn(epoch);
        long size = dataset.size();
        long[] order = drawing(context, random, () -> sampler.order(size, epoch));
        for (long sample : order) {
            if (sample < 0 || sample >= size) {
                throw new IllegalArgumentException(
                        "data loader: the sampler chose sample " + sample + " of a dataset of " + size);
            }
        }
        int batches = order.length / batchSize + (dropLast || order.length % batchSize == 0 ? 0 : 1);
        Prefetch<B> source = new Prefetch<>(
                maker(dataset, order, batchSize, random), taken, batches, prefetch, device, context.capture());
        running = source;
        return new Batches(source, batches);
    }

    /** Knows nothing of the loader, so that a loader can become unreachable while its thread runs. */
    private static <B> LongFunction<B> maker(Dataset<B> dataset, long[] order, int batchSize, Generator random) {
        return n -> {
            int from = Math.toIntExact(n * batchSize);
            long[] samples = Arrays.copyOfRange(order, from, Math.min(order.length, from + batchSize));
            return drawing(Context.current(), random.foldIn(n), () -> dataset.batch(samples));
        };
    }

    /** The body's random numbers come from this generator. */
    private static <T> T drawing(Context context, Generator generator, Supplier<T> body) {
        Generator before = context.setGenerator(generator);
        try {
            return body.get();
        } finally {
            context.setGenerator(before);
        }
    }

    /** Stops the thread, and closes the batches that nobody took. Idempotent; the loader can be iterated again. */
    @Override
    public void close() {
        stop();
    }

    private void stop() {
        if (running != null) {
            running.close();
            running = null;
        }
    }

    private final class Batches implements Iterator<B> {
        private final Prefetch<B> source;
        private final int count;

        private Batches(Prefetch<B> source, int count) {
            this.source = source;
            this.count = count;
        }

        @Override
        public boolean hasNext() {
            if (running != source) {
                return false;
            }
            if (taken < count) {
                return true;
            }
            stop();
            epoch++;
            taken = 0;
            return false;
        }

        @Override
        public B next() {
            if (!hasNext()) {
                throw new NoSuchElementException("data loader: this epoch has no more batches");
            }
            Context context = Context.current();
            Observer observer = context.observer();
            if (observer != null) {
                observer.begin(Observer.Work.WAIT, "data");
            }
            B batch;
            try {
                batch = source.take();
            } finally {
                if (observer != null) {
                    observer.end();
                }
            }
            taken++;
            Tree.forEach(batch, null, t -> TENSORS.joinScope(t, context));
            return batch;
        }
    }
}
