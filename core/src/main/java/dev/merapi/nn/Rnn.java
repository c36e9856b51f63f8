// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Recurrent;
import dev.merapi.ops.Recurrent.Cell;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Recurrent layers on top of each other, in one direction or both: [T, N, in] → [T, N, H], or twice H for both. Cells,
 * parameters and their names ({@code weight_ih_l0}, {@code bias_hh_l1_reverse}, …) are those of PyTorch's {@code nn.RNN},
 * {@code nn.GRU} and {@code nn.LSTM}, so that their state loads.
 *
 * <pre>{@code
 * Rnn lstm = new Rnn(Cell.LSTM, 32, 64, Rnn.options().layers(2).dropout(0.1).bidirectional());
 * Rnn.Result result = lstm.forward(x, null, lengths);
 * }</pre>
 */
public final class Rnn extends Layer {
    private final Cell cell;
    private final long hidden;
    private final Options options;
    private final @Nullable Dropout dropout;

    /**
     * How many layers, and what else they are.
     *
     * @param layers at least 1
     * @param bias whether there are biases
     * @param batchFirst whether x and the output are [N, T, ..]
     * @param bothWays whether each layer also runs from the end, and the outputs stand side by side
     * @param dropout probability, from 0 to 1, between two layers in training
     */
    public record Options(int layers, boolean bias, boolean batchFirst, boolean bothWays, double dropout) {
        /**
         * So many layers, each on the outputs of the one below.
         *
         * @param count at least 1
         * @return the same options but for that
         */
        public Options layers(int count) {
            return new Options(count, bias, batchFirst, bothWays, dropout);
        }

        /**
         * Without biases.
         *
         * @return the same options but for that
         */
        public Options noBias() {
            return new Options(layers, false, batchFirst, bothWays, dropout);
        }

        /**
         * With x and the output as [N, T, ..].
         *
         * @return the same options but for that
         */
        public Options batchIsFirst() {
            return new Options(layers, bias, true, bothWays, dropout);
        }

        /**
         * In both directions.
         *
         * @return the same options but for that
         */
        public Options bidirectional() {
            return new Options(layers, bias, batchFirst, true, dropout);
        }

        /**
         * Drops elements between two layers, in training.
         *
         * @param p from 0 to 1
         * @return the same options but for that
         */
        public Options dropout(double p) {
            return new Options(layers, bias, batchFirst, bothWays, p);
        }

        int directions() {
            return bothWays ? 2 : 1;
        }
    }

    /**
     * What comes of a batch.
     *
     * @param output [T, N, H·directions] of the last layer, or [N, T, ..] where the batch comes first
     * @param state at the end of each sequence, to go on from
     */
    public record Result(Tensor output, State state) {}

    /**
     * Where sequences stand.
     *
     * @param h [layers·directions, N, H], the directions of a layer one after the other
     * @param c as h, for an LSTM; else null
     */
    public record State(Tensor h, @Nullable Tensor c) {}

    /** {@return one layer with biases, in one direction, with the steps first} */
    public static Options options() {
        return new Options(1, true, false, false, 0);
    }

    /**
     * With the {@linkplain #options usual options}.
     *
     * @param cell what happens at a step
     * @param in the size of the inputs
     * @param hidden H, the size of the state, at least 1
     */
    public Rnn(Cell cell, long in, long hidden) {
        this(cell, in, hidden, options());
    }

    /**
     * Parameters are drawn as PyTorch draws them, uniform in ±1/√H.
     *
     * @param cell what happens at a step
     * @param in the size of the inputs
     * @param hidden H, the size of the state, at least 1
     * @param options layers and directions
     * @throws ShapeException if a size is less than it can be
     */
    public Rnn(Cell cell, long in, long hidden, Options options) {
        this.cell = Objects.requireNonNull(cell, "cell");
        this.hidden = Init.atLeast(1, "Rnn", "hidden", hidden);
        this.options = Objects.requireNonNull(options, "options");
        Init.atLeast(0, "Rnn", "in", in);
        Init.atLeast(1, "Rnn", "layers", options.layers());
        dropout = options.dropout() == 0 ? null : child("dropout", new Dropout(options.dropout()));
        long rows = cell.gates() * hidden;
        for (int layer = 0; layer < options.layers(); layer++) {
            for (int d = 0; d < options.directions(); d++) {
                String end = end(layer, d);
                long width = layer == 0 ? in : hidden * options.directions();
                parameter("weight_ih" + end, Init.kaimingUniform(hidden, rows, width));
                parameter("weight_hh" + end, Init.kaimingUniform(hidden, rows, hidden));
                if (options.bias()) {
                    parameter("bias_ih" + end, Init.kaimingUniform(hidden, rows));
                    parameter("bias_hh" + end, Init.kaimingUniform(hidden, rows));
                }
            }
        }
    }

    private static String end(int layer, int direction) {
        return "_l" + layer + (direction == 0 ? "" : "_reverse");
    }

    /** The output alone, from a state of zeros. */
    @Override
    protected Tensor compute(Tensor x) {
        return forward(x, null, null).output();
    }

    /**
     * Runs a batch of sequences.
     *
     * @param x [T, N, in], or [N, T, in] where the batch comes first
     * @param state to start from; null for zeros
     * @param lengths how many steps each sequence has, from 1 to T, in any order; null for T. Beyond it the output is 0,
     *     and the state is that of its last step: what PyTorch packs sequences for
     * @return outputs and the state at the end
     * @throws ShapeException if sizes do not fit
     */
    public Result forward(Tensor x, @Nullable State state, long @Nullable [] lengths) {
        Objects.requireNonNull(x, "x");
        if (x.rank() != 3) {
            throw new ShapeException(Message.of(
                            "Rnn",
                            "x must have 3 dimensions, " + (options.batchFirst() ? "[N, T, in]" : "[T, N, in]")
                                    + ", but is " + x.describe())
                    .argument("x")
                    .fix("unsqueeze the dimension of the batch for a single sequence."));
        }
        Tensor given = options.batchFirst() ? x.transpose(0, 1) : x;
        State start = state == null ? zeros(given) : require(given, state);
        List<Tensor> h = new ArrayList<>();
        List<Tensor> c = new ArrayList<>();
        for (int layer = 0; layer < options.layers(); layer++) {
            if (layer > 0 && dropout != null) {
                given = dropout.forward(given);
            }
            List<Tensor> outputs = new ArrayList<>();
            for (int d = 0; d < options.directions(); d++) {
                int k = layer * options.directions() + d;
                Tensor memory = start.c() == null ? null : start.c().select(0, k);
                Recurrent.Run run =
                        Recurrent.run(cell, given, start.h().select(0, k), memory, weights(layer, d), lengths, d == 1);
                outputs.add(run.output());
                h.add(run.h());
                if (run.c() != null) {
                    c.add(run.c());
                }
            }
            given = outputs.size() == 1 ? outputs.get(0) : Tensor.cat(outputs, 2);
        }
        Tensor output = options.batchFirst() ? given.transpose(0, 1) : given;
        return new Result(output, new State(Tensor.stack(h, 0), c.isEmpty() ? null : Tensor.stack(c, 0)));
    }

    private Recurrent.Weights weights(int layer, int direction) {
        String end = end(layer, direction);
        return new Recurrent.Weights(
                tensor("weight_ih" + end),
                tensor("weight_hh" + end),
                options.bias() ? tensor("bias_ih" + end) : null,
                options.bias() ? tensor("bias_hh" + end) : null);
    }

    private Tensor tensor(String name) {
        return Objects.requireNonNull(named().get(name)).tensor();
    }

    private Shape stateShape(Tensor given) {
        return Shape.of((long) options.layers() * options.directions(), given.size(1), hidden);
    }

    private State zeros(Tensor given) {
        Tensor like = tensor("weight_hh_l0");
        Tensor h = Tensor.zeros(stateShape(given), like.dtype(), like.device());
        return new State(h, cell == Cell.LSTM ? h : null);
    }

    private State require(Tensor given, State state) {
        Shape shape = stateShape(given);
        if ((state.c() == null) == (cell == Cell.LSTM)) {
            throw new ShapeException(Message.of(
                            "Rnn",
                            cell + ": the state has "
                                    + (state.c() == null
                                            ? "no c, but an LSTM's has one"
                                            : "a c, which only an LSTM's has"))
                    .argument("state"));
        }
        for (Tensor t : state.c() == null ? List.of(state.h()) : List.of(state.h(), state.c())) {
            if (!t.shape().equals(shape)) {
                throw new ShapeException(Message.of(
                                "Rnn",
                                "the state must be " + shape + ", [layers·directions, N, H], but is " + t.describe())
                        .argument("state"));
            }
        }
        return state;
    }
}
