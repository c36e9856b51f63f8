// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.nn;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Checkpoint;
import dev.merapi.device.Memory;
import dev.merapi.nn.Block;
import dev.merapi.nn.Parameter;
import dev.merapi.optim.AdamW;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** Every block of {@link BlockTable} that has parameters or buffers with what else a program does: saving, moving, stepping, recomputing, 16 bits, scopes. */
class BlockSeamsTest {
    private static final GoldenBlocks GOLDEN = GoldenBlocks.read();

    /** All that goes wrong, by the names of the cases. */
    private static void each(Consumer<String> seam) {
        Map<String, String> wrong = new TreeMap<>();
        for (String name : GOLDEN.names()) {
            if (GOLDEN.part(name, "state").isEmpty()) {
                continue;
            }
            try (Scope scope = Scope.open()) {
                seam.accept(name);
            } catch (RuntimeException | AssertionError e) {
                wrong.put(name, e.toString());
            }
        }
        assertThat(wrong).isEmpty();
    }

    private static boolean isTrained(String name) {
        return !GOLDEN.part(name, "grad").isEmpty();
    }

    private static List<Tensor> as(DType dtype, List<Tensor> in) {
        List<Tensor> all = new ArrayList<>();
        for (Tensor t : in) {
            Tensor given = t.dtype().isFloating() ? t.detach().to(dtype) : t;
            all.add(t.requiresGrad() ? given.requiresGrad(true) : given);
        }
        return all;
    }

    private static void same(String what, Tensor actual, Tensor expected) {
        assertThat(actual.toDoubleArray()).as(what).isEqualTo(expected.toDoubleArray());
    }

    @Test
    void aSavedStateMakesTheSameBlock() {
        each(name -> {
            Block one = GOLDEN.make(name);
            Block other = Objects.requireNonNull(BlockTable.all().get(GoldenBlocks.module(name)))
                    .make()
                    .get();
            other.to(DType.FLOAT64);
            other.loadStateDict(one.stateDict());
            one.eval();
            other.eval();
            List<Tensor> in = GOLDEN.inputs(name);
            same("output", GOLDEN.call(name, other, in), GOLDEN.call(name, one, in));
        });
    }

    @Test
    void recomputationGivesTheSameGradientsAndMovesNothing() {
        each(name -> {
            if (!isTrained(name)) {
                return;
            }
            Block plain = GOLDEN.make(name);
            Block again = GOLDEN.make(name);
            List<Tensor> a = GOLDEN.inputs(name);
            List<Tensor> b = GOLDEN.inputs(name);
            Autograd.backward(GoldenBlocks.loss(GOLDEN.call(name, plain, a)));
            Autograd.backward(GoldenBlocks.loss(Checkpoint.checkpoint(in -> GOLDEN.call(name, again, in), b)));
            for (int i = 0; i < a.size(); i++) {
                Tensor grad = a.get(i).grad();
                if (grad != null) {
                    same(
                            "gradient of input " + i,
                            Objects.requireNonNull(b.get(i).grad()),
                            grad);
                }
            }
            Map<String, Parameter> others = again.named();
            plain.named().forEach((n, p) -> {
                Tensor other = Objects.requireNonNull(others.get(n)).tensor();
                same(n, other, p.tensor());
                Tensor grad = p.tensor().grad();
                if (grad != null) {
                    same("gradient of " + n, Objects.requireNonNull(other.grad()), grad);
                }
            });
        });
    }

    @Test
    void movedBlocksAreStepped() {
        each(name -> {
            Block block = GOLDEN.make(name);
            if (block.parameters().isEmpty() || !isTrained(name)) {
                return;
            }
            try (AdamW optimizer = new AdamW(block.parameters(), 0.01, 0)) {
                for (DType dtype : new DType[] {DType.FLOAT32, DType.BFLOAT16, DType.FLOAT64}) {
                    block.to(dtype);
                    block.zeroGrad();
                    Map<String, double[]> before = new TreeMap<>();
                    block.namedParameters()
                            .forEach((n, p) -> before.put(n, p.tensor().toDoubleArray()));
                    Tensor out = GOLDEN.call(name, block, as(dtype, GOLDEN.inputs(name)));
                    Autograd.backward(GoldenBlocks.loss(out));
                    optimizer.step();
                    block.namedParameters().forEach((n, p) -> {
                        double[] after = p.tensor().toDoubleArray();
                        assertThat(after).as(n + " as " + dtype).isNotEqualTo(before.get(n));
                        assertThat(Arrays.stream(after).allMatch(Double::isFinite))
                                .as(n)
                                .isTrue();
                    });
                }
            }
        });
    }

    /** Sixteen bits have 8 of precision: what comes is that of float32 to a few of the last of them. */
    @Test
    void autocastComesCloseToFloat32() {
        each(name -> {
            Block block = GOLDEN.make(name);
            Block other = GOLDEN.make(name);
            block.to(DType.FLOAT32);
            other.to(DType.FLOAT32);
            List<Tensor> in = as(DType.FLOAT32, GOLDEN.inputs(name));
            Tensor expected = GOLDEN.call(name, other, in);
            Tensor actual;
            try (Autocast cast = Autocast.on(DType.BFLOAT16)) {
                actual = GOLDEN.call(name, block, in);
            }
            Tensor wide = actual.to(DType.FLOAT32);
            double most = wide.detach().sub(expected.detach()).abs().max().item();
            double size = expected.detach().abs().max().item();
            assertThat(most).as("difference").isLessThanOrEqualTo(0.1 * (size + 0.5));
            if (isTrained(name)) {
                Autograd.backward(GoldenBlocks.loss(wide));
                block.namedParameters().forEach((n, p) -> {
                    Tensor grad = Objects.requireNonNull(p.tensor().grad(), n);
                    assertThat(grad.isFinite().all().item()).as(n).isEqualTo(1);
                });
            }
        });
    }

    /** No backward goes through its first call: what that saved lives as long as the outermost scope, which is around all steps. */
    private static final Set<String> UNFINISHED = Set.of("BatchNorm2d cumulative");

    @Test
    void aStepLeavesNoMemoryBehind() {
        each(name -> {
            if (UNFINISHED.contains(name)) {
                return;
            }
            Block block = GOLDEN.make(name);
            List<Tensor> in = GOLDEN.inputs(name);
            long last = 0;
            long least = Long.MAX_VALUE; // of what a step adds: now and then one warms something up
            for (int step = 0; step < 5; step++) {
                try (Scope scope = Scope.open()) {
                    Tensor loss = GoldenBlocks.loss(GOLDEN.call(name, block, in));
                    if (isTrained(name)) {
                        Autograd.backward(loss);
                    }
                    block.zeroGrad();
                    in.forEach(t -> t.setGrad(null));
                }
                long now = Memory.stats(Device.CPU).allocated();
                least = step == 0 ? least : Math.min(least, now - last);
                last = now;
            }
            assertThat(least).isLessThanOrEqualTo(0);
        });
    }

    /** The batch is not the first dimension, or there is none. */
    private static final Set<String> OTHERWISE =
            Set.of("CTCLoss", "EmbeddingBag sum", "LSTM", "RNN", "MultiheadAttention added");

    /** Without a batch there are no gradients but zeros, as in PyTorch. */
    @Test
    void anEmptyBatchGivesNothing() {
        each(name -> {
            Block block = GOLDEN.make(name);
            if (OTHERWISE.contains(name) || name.endsWith("Loss") || name.contains("Loss ")) {
                return;
            }
            List<Tensor> in = new ArrayList<>();
            GOLDEN.inputs(name).forEach(t -> {
                Tensor none = t.detach().slice(0, 0, 0);
                in.add(t.requiresGrad() ? none.requiresGrad(true) : none);
            });
            Tensor out = GOLDEN.call(name, block, in);
            assertThat(out.size(0)).as("results").isEqualTo(0);
            if (out.requiresGrad()) {
                Autograd.backward(out.sum());
            }
            block.namedParameters().forEach((n, p) -> {
                Tensor grad = p.tensor().grad();
                assertThat(grad == null ? 0 : grad.abs().sum().item()).as(n).isEqualTo(0);
            });
        });
    }
}
