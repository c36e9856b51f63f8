// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.dispatch.Context;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Methods without other arguments that several threads call at once, each with its own: {@code (receiver, …)}. */
record Together(List<MethodCallee> calls) implements Callee {
    private static final ExecutorService THREADS = Executors.newCachedThreadPool(task -> {
        Thread t = new Thread(task, "fuzz");
        t.setDaemon(true);
        return t;
    });

    @Override
    public String name() {
        return calls.get(0).name();
    }

    @Override
    public List<Tensor> call(Run run, @Nullable Object[] args) {
        Context.Snapshot modes = Context.current().capture();
        CountDownLatch all = new CountDownLatch(calls.size());
        List<Future<Tensor>> results = new ArrayList<>();
        for (int i = 0; i < calls.size(); i++) {
            int at = i;
            results.add(THREADS.submit(() -> {
                Context.Snapshot before = Context.current().install(modes.plain());
                try {
                    all.countDown();
                    all.await();
                    return calls.get(at).call(run, new Object[] {args[at]}).get(0);
                } finally {
                    Context.current().install(before);
                }
            }));
        }
        List<Tensor> made = new ArrayList<>();
        RuntimeException failed = null;
        for (Future<Tensor> result : results) {
            try {
                Tensor t = result.get();
                run.escaped(t);
                made.add(t);
            } catch (ExecutionException e) {
                if (!(e.getCause() instanceof RuntimeException r)) {
                    throw new IllegalStateException(e.getCause());
                }
                failed = failed == null ? r : failed;
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }
        if (failed != null) {
            throw failed;
        }
        return made;
    }

    @Override
    public String part(int i) {
        return ".get(" + i + ").join()";
    }

    @Override
    public String print(List<String> args) {
        List<String> each = new ArrayList<>();
        for (int i = 0; i < calls.size(); i++) {
            each.add("CompletableFuture.supplyAsync(" + args.get(i) + "::"
                    + calls.get(i).name() + ")");
        }
        return "List.of(" + each.stream().collect(Collectors.joining(", ")) + ")";
    }

    static Together of(MethodCallee... calls) {
        return new Together(Arrays.asList(calls));
    }
}
