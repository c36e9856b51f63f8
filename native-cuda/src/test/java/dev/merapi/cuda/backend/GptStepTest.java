// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.driver.FakeGpu;
import dev.merapi.dispatch.Context;
import dev.merapi.nn.Block;
import dev.merapi.nn.Embedding;
import dev.merapi.nn.FeedForward;
import dev.merapi.nn.LayerNorm;
import dev.merapi.nn.MultiheadAttention;
import dev.merapi.ops.Losses;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Clip;
import dev.merapi.random.Generator;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.CudaGraph;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Whole training steps of a small GPT on a driver that is late: embedding, attention, clipping, AdamW, with and without
 * autocast, call by call and as a captured graph. All have the simulator's bits.
 */
class GptStepTest {
    private static final int VOCABULARY = 13;
    private static final int STEPS = 5;

    private static Device fake = Device.CPU;

    @BeforeAll
    static void driver() {
        Simulator.require();
        fake = FakeGpu.device("cuda-gpt", "");
    }

    @AfterAll
    static void forget() {
        FakeGpu.forget();
    }

    private static final class Gpt extends Block {
        private final Embedding tokens = child("tokens", new Embedding(VOCABULARY, 32));
        private final Embedding positions = child("positions", new Embedding(8, 32));
        private final LayerNorm norm1 = child("norm1", new LayerNorm(32));
        private final MultiheadAttention attention = child("attention", new MultiheadAttention(32, 2, true));
        private final LayerNorm norm2 = child("norm2", new LayerNorm(32));
        private final FeedForward feedForward = child("feedForward", new FeedForward(32, 64));
        private final boolean chunked;

        Gpt(boolean chunked) {
            this.chunked = chunked;
        }

        Tensor loss(Tensor input, Tensor targets) {
            Tensor x = tokens.forward(input).add(positions.weight().slice(0, 0, input.size(1)));
            x = x.add(attention.forward(norm1.forward(x)));
            x = x.add(feedForward.forward(norm2.forward(x)));
            if (chunked) {
                return Losses.linearCrossEntropy(x, tokens.weight(), null, targets);
            }
            try (Tensor logits = x.linear(tokens.weight(), null);
                    Tensor rows = logits.view(-1, VOCABULARY)) { // their gradient is written over them
                return Losses.crossEntropy(rows, targets.view(-1));
            }
        }
    }

    private static float[] losses(Device on, boolean mixed, boolean captured) {
        return losses(on, mixed, false, captured);
    }

    /** @param whole bfloat16 parameters with float32 masters, and no logits in memory */
    private static float[] losses(Device on, boolean mixed, boolean whole, boolean captured) {
        Generator before = Context.current().setGenerator(new Generator(7));
        try {
            Gpt model = new Gpt(whole);
            model.to(on);
            if (whole) {
                model.to(DType.BFLOAT16);
            }
            Tensor input = Tensor.zeros(2, 8).to(DType.INT64).to(on);
            Tensor targets = Tensor.zeros(2, 8).to(DType.INT64).to(on);
            try (AdamW optimizer = new AdamW(model.parameters(), 1e-2, 0.1)) {
                Supplier<Tensor> body = () -> {
                    Tensor loss;
                    if (mixed) {
                        try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
                            loss = model.loss(input, targets);
                        }
                    } else {
                        loss = model.loss(input, targets);
                    }
                    Autograd.backward(loss);
                    optimizer.step(Clip.norm(model.parameters(), 1).scale());
                    optimizer.zeroGrad();
                    return loss;
                };
                return run(on, body, captured, input, targets);
            }
        } finally {
            Context.current().setGenerator(before);
        }
    }

    /** What follows 3 is 7, and so on. */
    private static float[] run(Device on, Supplier<Tensor> body, boolean captured, Tensor input, Tensor targets) {
        float[] losses = new float[STEPS];
        try (CudaGraph<Tensor> graph = CudaGraph.of(on, body).warmup(2)) {
            for (int step = 0; step < STEPS; step++) {
                try (Scope scope = Scope.open()) {
                    long[] text = new long[17];
                    text[0] = step;
                    for (int i = 1; i < text.length; i++) {
                        text[i] = (text[i - 1] * 2 + 1) % VOCABULARY;
                    }
                    input.copy_(
                            Tensor.of(java.util.Arrays.copyOf(text, 16), 2, 8).to(on));
                    targets.copy_(Tensor.of(java.util.Arrays.copyOfRange(text, 1, 17), 2, 8)
                            .to(on));
                    losses[step] = (float) (captured ? graph.run() : body.get()).item();
                }
                assertEquals(captured && step >= 2, graph.isCaptured());
            }
        }
        return losses;
    }

    @Test
    void inFloat32() {
        float[] cpu = losses(Device.CPU, false, false);
        float[] simulated = losses(Simulator.DEVICE, false, false);
        // Rounding differs by 1e-7 a step, and Adam divides by small numbers.
        assertArrayEquals(cpu, simulated, 1e-3f);
        assertTrue(simulated[STEPS - 1] < 0.9 * simulated[0], java.util.Arrays.toString(simulated));
        assertArrayEquals(simulated, losses(fake, false, false));
        assertArrayEquals(simulated, losses(fake, false, true));
    }

    @Test
    void inBfloat16() {
        float[] simulated = losses(Simulator.DEVICE, true, false);
        assertArrayEquals(losses(Simulator.DEVICE, false, false), simulated, 0.1f);
        assertArrayEquals(simulated, losses(fake, true, false));
        assertArrayEquals(simulated, losses(fake, true, true));
    }

    @Test
    void withBfloat16Parameters() {
        float[] simulated = losses(Simulator.DEVICE, false, true, false);
        assertArrayEquals(losses(Simulator.DEVICE, false, false), simulated, 0.1f);
        assertArrayEquals(simulated, losses(fake, false, true, false));
        assertArrayEquals(simulated, losses(fake, false, true, true));
    }
}
