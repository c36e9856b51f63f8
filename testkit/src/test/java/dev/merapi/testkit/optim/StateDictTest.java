// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.optim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.Merapi;
import dev.merapi.data.DataLoader;
import dev.merapi.data.TensorDataset;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.error.StateDictException;
import dev.merapi.io.Safetensors;
import dev.merapi.nn.Linear;
import dev.merapi.nn.Sequential;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.GradScaler;
import dev.merapi.optim.Optimizer;
import dev.merapi.optim.Sgd;
import dev.merapi.random.Generator;
import dev.merapi.state.StateDict;
import dev.merapi.state.Stateful;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** All that a run remembers goes to a file and back, and is refused where it does not fit, with nothing changed. */
class StateDictTest {
    @TempDir
    Path folder;

    private static Sequential model() {
        return new Sequential().then(new Linear(3, 4)).then(Tensor::relu).then(new Linear(4, 1));
    }

    /** Values of the same kind, so that two states can be compared. */
    private static Map<String, Object> values(StateDict state) {
        Map<String, Object> all = new LinkedHashMap<>();
        for (String name : state.names()) {
            Object value = state.get(name, Object.class);
            all.put(
                    name,
                    value instanceof Tensor t
                            ? t.describe() + Arrays.toString(t.to(DType.FLOAT64).toDoubleArray())
                            : value);
        }
        return all;
    }

    private static void train(Sequential model, Optimizer optimizer, int steps) {
        for (int i = 0; i < steps; i++) {
            Tensor x = Tensor.ones(model.parameters().get(0).tensor().dtype(), 2, 3);
            dev.merapi.autograd.Autograd.backward(model.forward(x).square().sum());
            optimizer.step();
            optimizer.zeroGrad();
        }
    }

    @Test
    void allFiveGoThroughAFile() throws IOException {
        Merapi.seed(5);
        Sequential a = model();
        Sequential b = model();
        try (AdamW adam = new AdamW(a.parameters(), 0.01, 0.8, 0.9, 1e-7, 0.25);
                AdamW adam2 = new AdamW(b.parameters(), 0.5, 0);
                Sgd sgd = new Sgd(a.parameters(), 0.02, 0.9, 0.25, false, 0.125);
                Sgd sgd2 = new Sgd(b.parameters(), 1, 0.5, true, 0);
                GradScaler scaler = new GradScaler(8, 4, 0.25, 3, true);
                GradScaler scaler2 = new GradScaler();
                var loader = DataLoader.of(new TensorDataset(Tensor.rand(9, 2), Tensor.rand(9)), 2);
                var loader2 = DataLoader.of(new TensorDataset(Tensor.rand(9, 2), Tensor.rand(9)), 2)) {
            train(a, adam, 3);
            train(a, sgd, 2);
            scaler.step(sgd);
            scaler.update();
            loader.iterator().next();
            Generator random = new Generator(Long.MIN_VALUE + 3);
            random.take(7);
            Map<Stateful, Stateful> pairs = new LinkedHashMap<>();
            pairs.put(a, b);
            pairs.put(adam, adam2);
            pairs.put(sgd, sgd2);
            pairs.put(scaler, scaler2);
            pairs.put(loader, loader2);
            pairs.put(random, new Generator(1));
            StateDict whole = new StateDict();
            pairs.keySet().forEach(from -> whole.put("part" + whole.names().size(), from.stateDict()));
            Path file = folder.resolve("state.safetensors");
            Safetensors.save(file, whole);
            StateDict read = Safetensors.loadState(file);
            assertThat(values(read)).containsExactlyInAnyOrderEntriesOf(values(whole));
            int at = 0;
            for (Map.Entry<Stateful, Stateful> pair : pairs.entrySet()) {
                StateDict part = read.under("part" + at);
                at += part.names().size();
                assertThat(values(pair.getValue().stateDict())).isNotEqualTo(values(part));
                pair.getValue().loadStateDict(part);
                assertThat(values(pair.getValue().stateDict())).containsExactlyInAnyOrderEntriesOf(values(part));
            }
            assertThat(adam2.learningRate()).isEqualTo(0.01);
            train(a, adam, 2);
            train(b, adam2, 2);
            train(a, sgd, 2);
            train(b, sgd2, 2);
            assertThat(values(b.stateDict())).isEqualTo(values(a.stateDict()));
        }
    }

    @Test
    void parametersAreFoundByName() {
        Sequential model = model();
        try (AdamW forward = new AdamW(model.parameters(), 0.01, 0)) {
            train(model, forward, 2);
            List<dev.merapi.nn.Parameter> reversed = new ArrayList<>(model.parameters());
            java.util.Collections.reverse(reversed);
            try (AdamW backward = new AdamW(reversed.subList(0, 2), 0.5, 0.25)) {
                backward.add(reversed.subList(2, 4), 0.125);
                backward.loadStateDict(forward.stateDict());
                assertThat(values(backward.stateDict()))
                        .containsExactlyInAnyOrderEntriesOf(values(forward.stateDict()));
                assertThat(forward.stateDict().names())
                        .contains("parameters.0.weight.exp_avg", "parameters.2.bias.step");
            }
        }
    }

    @Test
    void whatDoesNotFitIsRefusedByNameAndChangesNothing() {
        Sequential model = model();
        Sequential half = model();
        half.to(DType.BFLOAT16);
        try (AdamW adam = new AdamW(model.parameters(), 0.01, 0);
                AdamW halfAdam = new AdamW(half.parameters(), 0.01, 0);
                AdamW plainAdam = AdamW.adam(model.parameters(), 0.01, 0.9, 0.99, 1e-8, 0);
                Sgd sgd = new Sgd(model.parameters(), 0.1, 0.9, false, 0);
                Sgd plain = new Sgd(model.parameters(), 0.1);
                GradScaler scaler = new GradScaler();
                var loader = DataLoader.of(new TensorDataset(Tensor.rand(9, 2), Tensor.rand(9)), 2)) {
            train(model, adam, 1);
            StateDict good = adam.stateDict();
            String avg = "parameters.0.weight.exp_avg";
            refused(adam, good.with(avg, Tensor.zeros(DType.FLOAT64, 4, 3)), avg, "float32[4, 3]", "float64[4, 3]");
            refused(adam, good.with(avg, Tensor.zeros(4)), avg, "float32[4]");
            refused(adam, good.with(avg, 3.0), avg, "Double");
            refused(adam, good.with("lr", -1.0), "lr", "-1.0");
            refused(adam, good.with("beta2", 1.0), "betas");
            refused(adam, good.with("more", 1.0), "unknown: [more]");
            refused(adam, good.with("parameters.0.bias.weight_decay", Double.NaN), "0.bias.weight_decay");
            refused(adam, sgd.stateDict(), "expected AdamW, got Sgd with momentum");
            refused(adam, plainAdam.stateDict(), "expected AdamW, got Adam");
            refused(adam, halfAdam.stateDict(), "unknown", "parameters.0.bias.master");
            refused(halfAdam, good, "missing", "parameters.0.bias.master");
            refused(plain, sgd.stateDict(), "expected Sgd, got Sgd with momentum");
            refused(sgd, sgd.stateDict().with("momentum", 1.5), "1.5");
            refused(model, model.stateDict().with("0.weight", Tensor.zeros(DType.INT64, 4, 3)), "0.weight", "int64");
            refused(scaler, scaler.stateDict().with("growth", 0.5), "growth 0.5");
            refused(scaler, scaler.stateDict().with("scale", Tensor.scalar(1.0)), "scale", "float64");
            refused(loader, loader.stateDict().with("batch", -1), "batch", "-1");
            refused(loader, loader.stateDict().with("batch_size", 3), "expected 2, got 3");
            refused(new Generator(3), new StateDict().put("seed", 3), "offset");
            Tensor closed = Tensor.zeros(4, 3);
            closed.close();
            refused(adam, good.with(avg, closed), avg, "closed");
            model.parameters().get(1).tensor().close();
            assertThatThrownBy(adam::stateDict)
                    .isInstanceOf(ClosedTensorException.class)
                    .hasMessageContaining("'0.bias'");
        }
    }

    private static void refused(Stateful into, StateDict state, String... words) {
        Map<String, Object> before = values(into.stateDict());
        assertThatThrownBy(() -> into.loadStateDict(state))
                .isInstanceOf(StateDictException.class)
                .hasMessageContainingAll(words);
        assertThat(values(into.stateDict())).isEqualTo(before);
    }

    /** A checkpoint of another dtype: load it, move then. And what has moved and not stepped is saved as it is now. */
    @Test
    void statesAreLoadedThenMoved() {
        Sequential a = model();
        Sequential b = model();
        try (AdamW x = new AdamW(a.parameters(), 0.01, 0);
                AdamW y = new AdamW(b.parameters(), 0.01, 0)) {
            train(a, x, 2);
            b.loadStateDict(a.stateDict());
            y.loadStateDict(x.stateDict());
            a.to(DType.FLOAT64);
            b.to(DType.FLOAT64);
            assertThat(values(y.stateDict())).isEqualTo(values(x.stateDict()));
            y.loadStateDict(x.stateDict());
            train(a, x, 2);
            train(b, y, 2);
            assertThat(values(b.stateDict())).isEqualTo(values(a.stateDict()));
            assertThat(y.stateDict()
                            .get("parameters.0.weight.exp_avg", Tensor.class)
                            .dtype())
                    .isEqualTo(DType.FLOAT64);
        }
    }

    @Test
    void literalsKeepKindAndValue() {
        StateDict state = new StateDict()
                .put("whole", Long.MIN_VALUE)
                .put("int", 3)
                .put("float", 0.1f)
                .put("number", -0.0)
                .put("nan", Double.NaN)
                .put("infinite", Double.NEGATIVE_INFINITY)
                .put("round", 5.0)
                .put("yes", true)
                .put("text", "true")
                .put("quoted", "\"5\"\n")
                .put("empty", "");
        StateDict back = StateDict.of(Map.of(), state.literals());
        assertThat(values(back)).isEqualTo(values(state));
        assertThat(back.get("int", Long.class)).isEqualTo(3);
        assertThatThrownBy(() -> back.get("int", Double.class))
                .isInstanceOf(StateDictException.class)
                .hasMessageContaining("'int'")
                .hasMessageContaining("Long");
        assertThatThrownBy(() -> back.get("no", Double.class)).hasMessageContaining("'no'");
        assertThatThrownBy(() -> StateDict.of(Map.of(), Map.of("x", "five"))).hasMessageContaining("five");
        assertThatThrownBy(() -> StateDict.of(Map.of(), Map.of("x", "99999999999999999999")))
                .hasMessageContaining("99999999999999999999");
        assertThatThrownBy(() -> back.put("int", 4)).hasMessageContaining("already");
    }
}
