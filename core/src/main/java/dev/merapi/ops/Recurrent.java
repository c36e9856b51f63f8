// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import static dev.merapi.expr.Exprs.sigmoid;
import static dev.merapi.expr.Exprs.tanh;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.expr.Expr;
import dev.merapi.ops.code.Signature;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Recurrent layers over a sequence: plain, gated (GRU), and with long short-term memory (LSTM). The inputs of all steps are
 * projected by one product; then each step is one product and one pass over memory for all its gates, forward and
 * backward. Weights, gates and their order are PyTorch's.
 *
 * @see <a href="https://doi.org/10.1162/neco.1997.9.8.1735">Hochreiter and Schmidhuber 1997</a>
 * @see <a href="https://arxiv.org/abs/1406.1078">Cho et al. 2014</a>
 */
public final class Recurrent {
    private Recurrent() {}

    /** What a layer does at each step. */
    public enum Cell {
        /** h' = tanh(x + h). */
        TANH(1),
        /** h' = max(0, x + h). */
        RELU(1),
        /** Gates r, z and n: h' = (1 − z)·n + z·h, where n sees r times its projection of h. */
        GRU(3),
        /** Gates i, f, g and o: c' = f·c + i·g, and h' = o·tanh c'. */
        LSTM(4);

        private final int gates;

        Cell(int gates) {
            this.gates = gates;
        }

        /** {@return how many times the hidden size the first dimension of its weights is} */
        public int gates() {
            return gates;
        }
    }

    /**
     * One layer in one direction.
     *
     * @param input [gates·H, in]
     * @param hidden [gates·H, H]
     * @param inputBias [gates·H], or null
     * @param hiddenBias as that
     */
    public record Weights(
            Tensor input,
            Tensor hidden,
            @Nullable Tensor inputBias,
            @Nullable Tensor hiddenBias) {}

    /**
     * What comes of a sequence.
     *
     * @param output [T, N, H]: h of each step; 0 beyond the length of a sequence
     * @param h [N, H]: after the last step of each sequence
     * @param c as h, for an LSTM; else null
     */
    public record Run(Tensor output, Tensor h, @Nullable Tensor c) {}

    /** i, f, g, o before their activations, and c; to h' and c'. */
    private static final PointwiseOp LSTM_CELL = cell("merapi::lstm_cell", 5, a -> {
        Expr c = sigmoid(a.get(1)).mul(a.get(4)).add(sigmoid(a.get(0)).mul(tanh(a.get(2))));
        return List.of(sigmoid(a.get(3)).mul(tanh(c)), c);
    });

    /** r, z, n of the input, r, z, n of the hidden state, and that state. */
    private static final PointwiseOp GRU_CELL = cell("merapi::gru_cell", 7, a -> {
        Expr r = sigmoid(a.get(0).add(a.get(3)));
        Expr z = sigmoid(a.get(1).add(a.get(4)));
        Expr n = tanh(a.get(2).add(r.mul(a.get(5))));
        return List.of(n.add(z.mul(a.get(6).sub(n))));
    });

    private interface Step {
        List<Expr> of(List<Expr> operands);
    }

    private static PointwiseOp cell(String name, int operands, Step step) {
        return new PointwiseOp(name, step.of(Pointwise.operands(operands, 0)), Signature.of(name, operands, List.of()))
                .register();
    }

    /**
     * Runs one layer over a batch of sequences.
     *
     * @param cell what happens at a step
     * @param x [T, N, in], with at least one step
     * @param h the first hidden state, [N, H]
     * @param c the first memory of an LSTM, [N, H]; null for others
     * @param w the weights
     * @param lengths how many steps each sequence has, from 1 to T, in any order; null for T. A sequence's state stays as
     *     it is after its last step
     * @param backward whether the steps are taken from the last to the first
     * @return outputs in the order of the steps of x, and the state at the end
     * @throws ShapeException if sizes do not fit
     */
    public static Run run(
            Cell cell, Tensor x, Tensor h, @Nullable Tensor c, Weights w, long @Nullable [] lengths, boolean backward) {
        Objects.requireNonNull(cell, "cell");
        Objects.requireNonNull(x, "x");
        Objects.requireNonNull(h, "h");
        Objects.requireNonNull(w, "w");
        require(cell, x, h, c, w, lengths);
        int steps = Math.toIntExact(x.size(0));
        Tensor bias = w.inputBias();
        Tensor hiddenBias = w.hiddenBias();
        if (cell != Cell.GRU && bias != null && hiddenBias != null) { // all steps at once
            bias = bias.add(hiddenBias);
            hiddenBias = null;
        }
        List<Tensor> projected = LinearAlgebra.linear(x, w.input(), bias).split(1, 0);
        Tensor counted =
                lengths == null ? null : Tensor.of(lengths).to(x.device()).unsqueeze(1);
        long shortest = x.size(0);
        for (int i = 0; lengths != null && i < lengths.length; i++) {
            shortest = Math.min(shortest, lengths[i]);
        }
        Tensor[] outputs = new Tensor[steps];
        Tensor state = h;
        Tensor memory = c;
        for (int i = 0; i < steps; i++) {
            int t = backward ? steps - 1 - i : i;
            Tensor given = projected.get(t).squeeze(0);
            Tensor recurrent = LinearAlgebra.linear(state, w.hidden(), hiddenBias);
            List<Tensor> next = step(cell, given, recurrent, state, memory);
            Tensor going = counted == null || t < shortest ? null : counted.gt(t);
            outputs[t] = going == null ? next.get(0) : next.get(0).where(going, 0);
            state = going == null ? next.get(0) : next.get(0).where(going, state);
            if (memory != null) {
                memory = going == null ? next.get(1) : next.get(1).where(going, memory);
            }
        }
        return new Run(Tensor.stack(List.of(outputs), 0), state, memory);
    }

    @SuppressWarnings("unchecked")
    private static List<Tensor> step(Cell cell, Tensor given, Tensor recurrent, Tensor h, @Nullable Tensor c) {
        return switch (cell) {
            case TANH -> List.of(given.add(recurrent).tanh());
            case RELU -> List.of(given.add(recurrent).relu());
            case GRU -> {
                List<Tensor> operands = new ArrayList<>(given.chunk(3, 1));
                operands.addAll(recurrent.chunk(3, 1));
                operands.add(h);
                yield List.of(GRU_CELL.call(operands, List.of()));
            }
            case LSTM -> {
                List<Tensor> operands = new ArrayList<>(given.add(recurrent).chunk(4, 1));
                Collections.addAll(operands, c);
                yield (List<Tensor>) Objects.requireNonNull(LSTM_CELL.callAny(operands, List.of()));
            }
        };
    }

    private static void require(
            Cell cell, Tensor x, Tensor h, @Nullable Tensor c, Weights w, long @Nullable [] lengths) {
        String op = "recurrent " + cell;
        if (x.rank() != 3 || x.size(0) == 0) {
            throw new ShapeException(op + ": x must be [T, N, in] with at least one step, but is " + x.describe());
        }
        if (h.rank() != 2 || h.size(0) != x.size(1)) {
            throw new ShapeException(
                    Message.of(op + ": h must be [N, H] with N = " + x.size(1) + ", but is " + h.describe())
                            .fact("x", x.describe())
                            .fix("pass zeros of that shape for a fresh start."));
        }
        long size = h.size(1);
        long rows = cell.gates() * size;
        DType dtype = w.input().dtype();
        Form.require(op, "weights.input", w.input(), Shape.of(rows, x.size(2)), dtype);
        Form.require(op, "weights.hidden", w.hidden(), Shape.of(rows, size), dtype);
        for (Tensor bias : new Tensor[] {w.inputBias(), w.hiddenBias()}) {
            if (bias != null) {
                Form.require(op, "bias", bias, Shape.of(rows), dtype);
            }
        }
        if ((c != null) != (cell == Cell.LSTM)) {
            throw new ShapeException(op + ": c is " + (c == null ? "absent, but an LSTM has one" : "an LSTM's alone"));
        }
        if (c != null && !c.shape().equals(h.shape())) {
            throw new ShapeException(op + ": c must be " + h.shape() + " as h is, but is " + c.describe());
        }
        if (lengths != null) {
            if (lengths.length != x.size(1)) {
                throw new ShapeException(
                        op + ": there are " + lengths.length + " lengths for " + x.size(1) + " sequences");
            }
            for (int i = 0; i < lengths.length; i++) {
                Form.requireNumber(op, "lengths[" + i + "]", lengths[i], 1, x.size(0));
            }
        }
    }
}
