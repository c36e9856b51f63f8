// SPDX-License-Identifier: Apache-2.0
package dev.merapi.data;

import dev.merapi.device.DeviceEvent;
import dev.merapi.device.DeviceStream;
import dev.merapi.dispatch.Context;
import dev.merapi.op.tree.Tree;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import java.lang.ref.Cleaner;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/**
 * Makes numbered things on a thread of its own, at most so many ahead, and hands them out in order. The thread ends with the
 * last one, with {@link #close}, and when the owner has become unreachable.
 */
final class Prefetch<B> implements AutoCloseable {
    private static final Cleaner CLEANER = Cleaner.create();

    private final @Nullable Producer<B> producer;
    private final LongFunction<B> make;
    private final @Nullable Device device;
    private final Context.Snapshot modes;
    private final Cleaner.@Nullable Cleanable cleanable;
    private long next;
    private @Nullable DataLoaderException failed;

    Prefetch(LongFunction<B> make, long first, long end, int ahead, @Nullable Device device, Context.Snapshot modes) {
        this.make = make;
        this.device = device;
        this.modes = modes;
        this.next = first;
        if (ahead == 0 || first >= end) {
            producer = null;
            cleanable = null;
            return;
        }
        producer = new Producer<>(make, first, end, new ArrayBlockingQueue<>(ahead), device, modes);
        cleanable = CLEANER.register(this, producer::end);
        producer.start();
    }

    /** The next one; waits for it. Once one has failed nothing follows: whoever asks again is told the same. */
    B take() {
        if (failed != null) {
            throw failed;
        }
        Made<B> made = producer == null ? makeHere(next) : await(producer);
        if (made.failure != null) {
            close();
            failed = new DataLoaderException(
                    "data loader: batch " + next + " could not be made: " + made.failure, made.failure);
            throw failed;
        }
        next++;
        DeviceEvent there = made.there;
        if (there != null && device != null) {
            DeviceStream.current(device).await(there);
            there.close();
        }
        return made.value();
    }

    private Made<B> await(Producer<B> from) {
        try {
            return from.ready.take();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new DataLoaderException("data loader: interrupted while waiting for batch " + next, e);
        }
    }

    /**
     * As on the thread: in the same modes but for the stream, without gradients, and a failure is wrapped. Errors pass as
     * they are, for nobody waits.
     */
    private Made<B> makeHere(long n) {
        Context context = Context.current();
        Context.Snapshot before = context.install(modes.on(context.stream()));
        context.setGradEnabled(false);
        try {
            return new Made<>(Delivery.moved(make.apply(n), device), null, null);
        } catch (RuntimeException e) {
            return new Made<>(null, null, e);
        } finally {
            context.install(before);
        }
    }

    /** Waits until the thread has ended, for it may be reading what the caller closes next. */
    @Override
    public void close() {
        if (producer == null || cleanable == null) {
            return;
        }
        cleanable.clean();
        boolean interrupted = false;
        while (producer.isAlive()) {
            try {
                producer.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        producer.discard();
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private record Made<B>(
            @Nullable B result,
            @Nullable DeviceEvent there,
            @Nullable Throwable failure) {
        B value() {
            return java.util.Objects.requireNonNull(result);
        }
    }

    /** Knows nothing of its owner, so that the owner can become unreachable while it runs. */
    private static final class Producer<B> extends Thread {
        private final LongFunction<B> make;
        private final long first;
        private final long end;
        private final BlockingQueue<Made<B>> ready;
        private final @Nullable Device device;
        private final Context.Snapshot modes;
        private @Nullable Delivery delivery;
        private volatile boolean stopped;

        Producer(
                LongFunction<B> make,
                long first,
                long end,
                BlockingQueue<Made<B>> ready,
                @Nullable Device device,
                Context.Snapshot modes) {
            super("merapi-data-loader");
            setDaemon(true);
            this.make = make;
            this.first = first;
            this.end = end;
            this.ready = ready;
            this.device = device;
            this.modes = modes;
        }

        @Override
        public void run() {
            Context.current().install(modes);
            Context.current().setGradEnabled(false);
            try {
                for (long n = first; n < end && !stopped; n++) {
                    Made<B> made = make(n);
                    try {
                        ready.put(made);
                    } catch (InterruptedException e) {
                        close(made);
                        return;
                    }
                    if (made.failure != null) {
                        return;
                    }
                }
            } finally {
                if (stopped) {
                    discard();
                }
                Delivery open = delivery;
                if (open != null) {
                    open.close();
                }
            }
        }

        /** Errors too reach the consumer: a thread that only dies would leave it waiting for ever. */
        private Made<B> make(long n) {
            try {
                B batch = make.apply(n);
                if (device == null) {
                    return new Made<>(batch, null, null);
                }
                Delivery open = delivery == null ? new Delivery(device) : delivery;
                delivery = open;
                Delivery.Delivered<B> delivered = open.deliver(batch);
                return new Made<>(delivered.batch(), delivered.there(), null);
            } catch (Throwable e) {
                return new Made<>(null, null, e);
            }
        }

        void end() {
            stopped = true;
            interrupt();
        }

        /** Closes what nobody took. */
        void discard() {
            for (Made<B> made = ready.poll(); made != null; made = ready.poll()) {
                close(made);
            }
        }

        private static <B> void close(Made<B> made) {
            Tree.forEach(made.result, null, Tensor::close);
            if (made.there != null) {
                made.there.close();
            }
        }
    }
}
