// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.nn;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.check.GradCheck;
import dev.merapi.error.ShapeException;
import dev.merapi.nn.Parameter;
import dev.merapi.nn.Rnn;
import dev.merapi.ops.Recurrent;
import dev.merapi.ops.Recurrent.Cell;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.assertj.core.data.Offset;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class RnnTest {
    private static final int STEPS = 5;

    private record Case(Rnn rnn, long @Nullable [] lengths) {}

    private static Map<String, Case> cases() {
        return Map.of(
                "tanh",
                new Case(new Rnn(Cell.TANH, 2, 3), null),
                "relu",
                new Case(new Rnn(Cell.RELU, 2, 3, Rnn.options().layers(2)), null),
                "gru",
                new Case(new Rnn(Cell.GRU, 2, 3, Rnn.options().noBias()), null),
                "gru2",
                new Case(new Rnn(Cell.GRU, 2, 3, Rnn.options().layers(2).bidirectional()), new long[] {2, 5, 3}),
                "lstm",
                new Case(new Rnn(Cell.LSTM, 2, 3, Rnn.options().batchIsFirst()), null),
                "lstm2",
                new Case(new Rnn(Cell.LSTM, 2, 3, Rnn.options().layers(2).bidirectional()), new long[] {4, 1, 5}));
    }

    static Tensor t(int step, int of, long... shape) {
        double[] values = new double[(int) Arrays.stream(shape).reduce(1, (a, b) -> a * b)];
        for (int i = 0; i < values.length; i++) {
            values[i] = (i * step % of - of / 2) / 8.0;
        }
        return Tensor.of(values, shape);
    }

    private static void fill(Rnn rnn) {
        rnn.to(DType.FLOAT64);
        int i = 0;
        for (Parameter p : rnn.parameters()) {
            Tensor values =
                    t(5 + 2 * (i % 4), 23 - 2 * (i % 5), p.tensor().shape().toArray());
            try (Autograd.Mode mode = Autograd.noGrad()) {
                p.tensor().copy_(values.div(4));
            }
            i++;
        }
    }

    @Test
    void outputsStatesAndGradientsArePyTorchs() throws IOException {
        List<String> lines;
        try (InputStream in = RnnTest.class.getResourceAsStream("recurrent.txt")) {
            lines = new String(Objects.requireNonNull(in).readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .toList();
        }
        assertThat(lines).hasSize(cases().size());
        for (String line : lines) {
            String[] words = line.split(" ");
            Case c = Objects.requireNonNull(cases().get(words[0]), words[0]);
            fill(c.rnn);
            Tensor x = t(7, 19, STEPS, 3, 2);
            x = (words[0].equals("lstm") ? x.transpose(0, 1).contiguous() : x).requiresGrad(true);
            Rnn.Result r = c.rnn.forward(x, null, c.lengths);
            Tensor weights = Tensor.arange(1, r.output().numel() + 1, 1)
                    .to(DType.FLOAT64)
                    .div(64)
                    .reshape(r.output().shape().toArray());
            Tensor loss =
                    r.output().mul(weights).sum().add(r.state().h().square().sum());
            List<Tensor> found = new ArrayList<>(List.of(r.output(), r.state().h()));
            if (r.state().c() != null) {
                loss = loss.add(r.state().c().square().sum());
                found.add(r.state().c());
            }
            Autograd.backward(loss);
            found.add(Objects.requireNonNull(x.grad()));
            c.rnn.parameters()
                    .forEach(p -> found.add(Objects.requireNonNull(p.tensor().grad())));
            double[] actual = found.stream()
                    .flatMapToDouble(v -> Arrays.stream(v.detach().toDoubleArray()))
                    .toArray();
            double[] expected = Arrays.stream(words)
                    .skip(1)
                    .mapToDouble(Double::parseDouble)
                    .toArray();
            assertThat(actual).as(words[0]).hasSameSizeAs(expected);
            for (int i = 0; i < actual.length; i++) {
                assertThat(actual[i]).as("%s, number %d", words[0], i).isCloseTo(expected[i], Offset.offset(1e-12));
            }
        }
    }

    @Test
    void parametersAreNamedAsPyTorchNamesThem() {
        Rnn rnn = new Rnn(Cell.GRU, 2, 3, Rnn.options().layers(2).bidirectional());
        assertThat(rnn.namedParameters().keySet())
                .containsExactly(
                        "weight_ih_l0",
                        "weight_hh_l0",
                        "bias_ih_l0",
                        "bias_hh_l0",
                        "weight_ih_l0_reverse",
                        "weight_hh_l0_reverse",
                        "bias_ih_l0_reverse",
                        "bias_hh_l0_reverse",
                        "weight_ih_l1",
                        "weight_hh_l1",
                        "bias_ih_l1",
                        "bias_hh_l1",
                        "weight_ih_l1_reverse",
                        "weight_hh_l1_reverse",
                        "bias_ih_l1_reverse",
                        "bias_hh_l1_reverse");
    }

    @Test
    void aSequenceInTwoPartsIsTheSequence() {
        for (Cell cell : Cell.values()) {
            Rnn rnn = new Rnn(cell, 2, 3, Rnn.options().layers(2));
            fill(rnn);
            Tensor x = t(7, 19, STEPS, 3, 2);
            Rnn.Result whole = rnn.forward(x, null, null);
            Rnn.Result first = rnn.forward(x.slice(0, 0, 2), null, null);
            Rnn.Result second = rnn.forward(x.slice(0, 2, STEPS), first.state(), null);
            assertThat(Tensor.cat(List.of(first.output(), second.output()), 0).toDoubleArray())
                    .as(cell.name())
                    .containsExactly(whole.output().toDoubleArray());
            assertThat(second.state().h().toDoubleArray())
                    .containsExactly(whole.state().h().toDoubleArray());
        }
    }

    /** What lies beyond the end of a sequence has no part in anything, even if it is NaN. */
    @Test
    void beyondItsLengthNothingIsSeen() {
        for (Cell cell : Cell.values()) {
            Rnn rnn = new Rnn(cell, 2, 3, Rnn.options().bidirectional());
            fill(rnn);
            Tensor x = t(7, 19, STEPS, 2, 2);
            x.select(1, 0).slice(0, 3, STEPS).fill_(Double.NaN);
            Rnn.Result both = rnn.forward(x, null, new long[] {3, STEPS});
            Rnn.Result alone = rnn.forward(x.slice(0, 0, 3).slice(1, 0, 1), null, null);
            assertThat(both.output().slice(1, 0, 1).slice(0, 0, 3).contiguous().toDoubleArray())
                    .as(cell.name())
                    .containsExactly(alone.output().toDoubleArray(), Offset.offset(1e-15));
            assertThat(both.output()
                            .select(1, 0)
                            .slice(0, 3, STEPS)
                            .contiguous()
                            .toDoubleArray())
                    .containsOnly(0);
        }
    }

    @Test
    void secondDerivatives() {
        for (Cell cell : new Cell[] {Cell.GRU, Cell.LSTM}) {
            Recurrent.Weights w =
                    new Recurrent.Weights(t(5, 23, cell.gates() * 2L, 1), t(7, 21, cell.gates() * 2L, 2), null, null);
            Tensor x = t(3, 17, 2, 1, 1).requiresGrad(true);
            Tensor h = t(3, 11, 1, 2).requiresGrad(true);
            Tensor c = cell == Cell.LSTM ? t(2, 7, 1, 2) : null;
            GradCheck.second(
                            in -> Recurrent.run(cell, in.get(0), in.get(1), c, w, null, false)
                                    .output(),
                            List.of(x, h))
                    .tolerance(1e-6)
                    .run()
                    .orThrow();
        }
    }

    @Test
    void mistakesAreNamed() {
        Rnn lstm = new Rnn(Cell.LSTM, 2, 3);
        Tensor x = Tensor.zeros(4, 1, 2);
        assertThatThrownBy(() -> lstm.forward(Tensor.zeros(4, 2)))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("[T, N, in]");
        assertThatThrownBy(() -> lstm.forward(x, new Rnn.State(Tensor.zeros(1, 1, 3), null), null))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("an LSTM's has one");
        assertThatThrownBy(() -> lstm.forward(x, new Rnn.State(Tensor.zeros(1, 2, 3), Tensor.zeros(1, 1, 3)), null))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("the state must be [1, 1, 3]");
        assertThatThrownBy(() -> lstm.forward(x, null, new long[] {5})).hasMessageContaining("lengths[0] is 5");
        assertThatThrownBy(() -> lstm.forward(Tensor.zeros(0, 1, 2)))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("at least one step");
        assertThatThrownBy(() -> new Rnn(Cell.GRU, 2, 0)).isInstanceOf(ShapeException.class);
    }
}
