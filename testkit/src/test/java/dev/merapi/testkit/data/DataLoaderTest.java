// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autocast;
import dev.merapi.data.DataLoader;
import dev.merapi.data.DataLoaderException;
import dev.merapi.data.Dataset;
import dev.merapi.data.Labelled;
import dev.merapi.data.Sampler;
import dev.merapi.data.TensorDataset;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
class DataLoaderTest {
    /** Samples are their own numbers. */
    private static final class Numbers implements Dataset<Tensor> {
        private final long size;
        private final Set<Tensor> made = ConcurrentHashMap.newKeySet();

        Numbers(long size) {
            this.size = size;
        }

        @Override
        public long size() {
            return size;
        }

        @Override
        public Tensor batch(long[] samples) {
            Tensor t = Tensor.of(samples, samples.length);
            made.add(t);
            return t;
        }
    }

    private static List<long[]> take(Iterator<Tensor> batches, int most) {
        List<long[]> result = new ArrayList<>();
        while (result.size() < most && batches.hasNext()) {
            result.add(batches.next().toLongArray());
        }
        return result;
    }

    private static long[] all(List<long[]> batches) {
        return batches.stream().flatMapToLong(Arrays::stream).toArray();
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 3, 100})
    void anEpochHasEverySampleOnce(int ahead) {
        try (var loader = DataLoader.of(new Numbers(10), 4).prefetch(ahead)) {
            List<long[]> epoch = take(loader.iterator(), 99);
            assertThat(epoch).extracting(b -> b.length).containsExactly(4, 4, 2);
            assertThat(all(epoch)).containsExactly(0, 1, 2, 3, 4, 5, 6, 7, 8, 9);
        }
        try (var loader = DataLoader.of(new Numbers(10), 4).prefetch(ahead).dropLast()) {
            assertThat(take(loader.iterator(), 99)).hasSize(2);
        }
    }

    @Test
    void shufflingDependsOnSeedAndEpochAlone() {
        try (var a = DataLoader.of(new Numbers(50), 7).shuffle(1);
                var b = DataLoader.of(new Numbers(50), 7).shuffle(1).prefetch(0);
                var c = DataLoader.of(new Numbers(50), 7).shuffle(2)) {
            long[] first = all(take(a.iterator(), 99));
            long[] second = all(take(a.iterator(), 99));
            assertThat(first).isNotEqualTo(second);
            assertThat(Arrays.stream(first).sorted())
                    .containsExactlyElementsOf(
                            java.util.stream.LongStream.range(0, 50).boxed().toList());
            assertThat(all(take(b.iterator(), 99))).isEqualTo(first);
            assertThat(all(take(b.iterator(), 99))).isEqualTo(second);
            assertThat(all(take(c.iterator(), 99))).isNotEqualTo(first);
        }
    }

    /** Each of the 24 orders of four samples, about equally often: 1,000 expected, deviation about 31. */
    @Test
    void shufflingIsFair() {
        java.util.Map<String, Integer> seen = new java.util.TreeMap<>();
        for (int epoch = 0; epoch < 24_000; epoch++) {
            seen.merge(Arrays.toString(Sampler.shuffled(5).order(4, epoch)), 1, Integer::sum);
        }
        assertThat(seen).hasSize(24);
        assertThat(seen.values()).allMatch(n -> Math.abs(n - 1000) < 160);
    }

    private static long[] at(DataLoader<?> loader) {
        return new long[] {
            loader.stateDict().get("epoch", Long.class), loader.stateDict().get("batch", Long.class)
        };
    }

    @Test
    void stateContinuesInTheMiddleOfAnEpoch() {
        try (var whole = DataLoader.of(new Numbers(20), 3).shuffle(9);
                var part = DataLoader.of(new Numbers(20), 3).shuffle(9);
                var resumed = DataLoader.of(new Numbers(20), 3).shuffle(9)) {
            long[] epoch0 = all(take(whole.iterator(), 99));
            long[] epoch1 = all(take(whole.iterator(), 99));
            take(part.iterator(), 99);
            long[] begun = all(take(part.iterator(), 2));
            assertThat(at(part)).containsExactly(1, 2);
            resumed.loadStateDict(part.stateDict());
            long[] rest = all(take(resumed.iterator(), 99));
            assertThat(java.util.stream.LongStream.concat(Arrays.stream(begun), Arrays.stream(rest)))
                    .containsExactlyElementsOf(Arrays.stream(epoch1).boxed().toList());
            assertThat(at(resumed)).containsExactly(2, 0);
            assertThat(epoch0).hasSize(20);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 9})
    void aFailureReachesTheConsumerWithItsCauseEachTimeItAsks(int ahead) {
        IllegalStateException cause = new IllegalStateException("disk on fire");
        Dataset<Tensor> broken = new Dataset<>() {
            @Override
            public long size() {
                return 9;
            }

            @Override
            public Tensor batch(long[] samples) {
                if (samples[0] >= 6) {
                    throw cause;
                }
                return Tensor.of(samples, samples.length);
            }
        };
        try (var loader = DataLoader.of(broken, 3).prefetch(ahead)) {
            Iterator<Tensor> it = loader.iterator();
            it.next();
            it.next();
            for (int again = 0; again < 2; again++) {
                assertThatThrownBy(it::next)
                        .isInstanceOf(DataLoaderException.class)
                        .hasMessageContaining("batch 2")
                        .hasCause(cause);
            }
            assertThat(at(loader)).containsExactly(0, 2);
        }
    }

    @Test
    void closingEndsTheThreadAndClosesWhatNobodyTook() {
        Numbers numbers = new Numbers(1000);
        long before = loaderThreads();
        Tensor taken;
        try (var loader = DataLoader.of(numbers, 10).prefetch(5)) {
            Iterator<Tensor> it = loader.iterator();
            taken = it.next();
            loader.close();
            assertThat(it.hasNext()).isFalse();
            loader.close();
        }
        assertThat(loaderThreads()).isLessThanOrEqualTo(before);
        assertThat(taken.isClosed()).isFalse();
        assertThat(numbers.made).filteredOn(t -> !t.isClosed()).containsExactly(taken);
    }

    @Test
    void theThreadOfAForgottenLoaderEnds() throws InterruptedException {
        long before = loaderThreads();
        Numbers numbers = new Numbers(1000);
        assertThat(DataLoader.of(numbers, 10).iterator().next().numel()).isEqualTo(10);
        assertThat(loaderThreads()).isGreaterThan(before);
        while (loaderThreads() > before) { // the class's timeout ends this
            System.gc();
            Thread.sleep(20);
        }
    }

    private static long loaderThreads() {
        return Thread.getAllStackTraces().keySet().stream()
                .filter(t -> t.getName().equals("merapi-data-loader"))
                .count();
    }

    @Test
    void aBatchBelongsToTheScopeInWhichItIsTaken() {
        try (var loader = DataLoader.of(new Numbers(8), 4)) {
            Iterator<Tensor> it = loader.iterator();
            Tensor inScope;
            try (Scope scope = Scope.open()) {
                inScope = it.next();
            }
            assertThat(inScope.isClosed()).isTrue();
            assertThat(it.next().isClosed()).isFalse();
        }
    }

    @Test
    void tensorsInMemoryAreADataset() {
        Tensor x = Tensor.arange(12).view(4, 3);
        Tensor y = Tensor.of(0L, 1L, 2L, 3L);
        Labelled batch = new TensorDataset(x, y).batch(new long[] {3, 0});
        assertThat(batch.inputs().toIntArray()).containsExactly(9, 10, 11, 0, 1, 2);
        assertThat(batch.targets().toLongArray()).containsExactly(3, 0);
        assertThatThrownBy(() -> new TensorDataset(x, Tensor.of(1L))).hasMessageContaining("[4, 3]");
    }

    /** Numbers of its own with each sample: what a dataset that adds noise gives. */
    private static Dataset<Tensor> noisy(int size) {
        return new Dataset<>() {
            @Override
            public long size() {
                return size;
            }

            @Override
            public Tensor batch(long[] samples) {
                return Tensor.rand(samples.length)
                        .add(Tensor.of(samples, samples.length).to(DType.FLOAT32))
                        .dropout(0.25, true);
            }
        };
    }

    private static List<Float> train(Sampler sampler, int prefetch, long skipped, boolean modelDraws) {
        List<Float> seen = new ArrayList<>();
        Merapi.seed(17);
        try (var loader = DataLoader.of(noisy(20), 3).sampler(sampler).prefetch(prefetch)) {
            loader.loadStateDict(loader.stateDict().with("epoch", skipped / 7).with("batch", skipped % 7));
            for (long b = skipped; b < 14; ) {
                for (Tensor batch : loader) {
                    for (float v : batch.toFloatArray()) {
                        seen.add(v);
                    }
                    b++;
                    if (modelDraws) {
                        Tensor.rand(5);
                        Thread.yield();
                    }
                }
            }
        }
        return seen;
    }

    /** Batch n has the numbers of (seed, epoch, n), with and without a thread, in each of 40 runs, and after a restart. */
    @Test
    void datasetsThatDrawGiveTheSameBatchesInEveryRun() {
        List<Sampler> samplers = List.of(
                Sampler.sequential(),
                Sampler.shuffled(3),
                Sampler.random(3, 20),
                (size, epoch) -> Tensor.randperm(size).toLongArray());
        for (Sampler sampler : samplers) {
            List<Float> first = train(sampler, 0, 0, true);
            assertThat(first).hasSize(40);
            assertThat(first.subList(0, 20)).isNotEqualTo(first.subList(20, 40));
            for (int run = 0; run < 10; run++) {
                for (int prefetch : new int[] {0, 1, 4}) {
                    assertThat(train(sampler, prefetch, 0, run % 2 == 0)).isEqualTo(first);
                }
            }
            assertThat(train(sampler, 2, 9, true)).isEqualTo(first.subList(26, 40));
        }
        // The model's numbers are its own, whether batches are made beside it or not.
        List<Float> model = new ArrayList<>();
        for (int prefetch : new int[] {0, 2}) {
            Merapi.seed(17);
            try (var loader = DataLoader.of(noisy(20), 3).prefetch(prefetch)) {
                for (Tensor batch : loader) {
                    model.add((float) Tensor.rand(1).item());
                }
            }
        }
        assertThat(model.subList(0, 7)).isEqualTo(model.subList(7, 14));
    }

    /** Batches are made in the modes that the loop began with, on whichever thread. */
    @Test
    void modesAreThoseOfTheBeginningOfTheEpoch() {
        Dataset<Tensor> products = new Dataset<>() {
            @Override
            public long size() {
                return 4;
            }

            @Override
            public Tensor batch(long[] samples) {
                return Tensor.ones(2, 2).matmul(Tensor.ones(2, 2));
            }
        };
        for (int prefetch : new int[] {0, 2}) {
            try (var loader = DataLoader.of(products, 1).prefetch(prefetch)) {
                Iterator<Tensor> it = loader.iterator();
                try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
                    assertThat(it.next().dtype()).as("ahead " + prefetch).isEqualTo(DType.FLOAT32);
                }
                assertThat(it.next().requiresGrad()).isFalse();
            }
        }
    }

    @Test
    void samplesThatThereAreNotAreRefused() {
        for (long bad : new long[] {-1, 4, Long.MAX_VALUE}) {
            try (var loader = DataLoader.of(new Numbers(4), 2).sampler((size, epoch) -> new long[] {0, bad})) {
                assertThatThrownBy(loader::iterator)
                        .isInstanceOf(IllegalArgumentException.class)
                        .hasMessageContaining("sample " + bad + " of a dataset of 4");
            }
        }
        assertThatThrownBy(() -> Sampler.random(1, -1)).isInstanceOf(IllegalArgumentException.class);
    }
}
