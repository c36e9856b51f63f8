// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.dispatch.BackendChoice;
import dev.merapi.dispatch.Context;
import dev.merapi.random.Generator;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;

/** An op that keeps something between calls, such as a buffer for all, gives other results when threads call it at once. */
final class ThreadChecks<A extends Record, R> {
    private static final int THREADS = 3;
    private static final int CALLS = 12;

    private final OpSample<A, R> sample;

    ThreadChecks(OpSample<A, R> sample) {
        this.sample = sample;
    }

    String threads() {
        int calls = BackendChoice.allocator(sample.device()).isJavaVisible() ? CALLS : 1;
        List<OpSample<A, R>> samples = new ArrayList<>();
        List<Tensor[]> expected = new ArrayList<>();
        for (int k = 0; k < THREADS; k++) {
            double factor = 1 - k / 16.0;
            OpSample<A, R> own = sample.of(
                    sample.with(t -> t.dtype().isFloating() ? OpSample.copy(t).mul(factor) : OpSample.copy(t)));
            Tensor[] right;
            try {
                right = own.run(own.copies());
            } catch (RuntimeException e) {
                own = sample; // other values than the sample's are refused
                right = own.run(own.copies());
            }
            samples.add(own);
            expected.add(right);
        }
        AtomicReference<RuntimeException> wrong = new AtomicReference<>();
        CountDownLatch start = new CountDownLatch(THREADS);
        List<Thread> threads = new ArrayList<>();
        for (int k = 0; k < THREADS; k++) {
            OpSample<A, R> own = samples.get(k);
            Tensor[] right = expected.get(k);
            Context.Snapshot modes = Context.current().capture();
            Thread thread = new Thread(
                    () -> {
                        Context.current().install(modes);
                        Context.current().setGenerator(new Generator(0)); // one is not for several threads
                        start.countDown();
                        await(start);
                        for (int call = 0; call < calls && wrong.get() == null; call++) {
                            try (Scope scope = Scope.open()) {
                                Tensor[] found = own.run(own.copies());
                                sample.agree(
                                        "while other threads call it", right, found, own.definition.isDeterministic());
                            } catch (RuntimeException e) {
                                wrong.compareAndSet(null, e);
                            }
                        }
                    },
                    "merapi-opcheck-" + k);
            thread.setDaemon(true);
            threads.add(thread);
        }
        threads.forEach(Thread::start);
        threads.forEach(ThreadChecks::join);
        RuntimeException found = wrong.get();
        if (found != null) {
            throw new CheckFailedException(THREADS + " threads at once: " + found.getMessage()
                    + "\n  fix: keep nothing between calls, or one for each thread.");
        }
        return "";
    }

    private static void await(CountDownLatch start) {
        try {
            start.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static void join(Thread thread) {
        try {
            thread.join();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
