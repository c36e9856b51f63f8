// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.seams;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.check.OpCheck;
import dev.merapi.data.DataLoader;
import dev.merapi.data.Labelled;
import dev.merapi.data.TensorDataset;
import dev.merapi.error.DTypeException;
import dev.merapi.error.GradientException;
import dev.merapi.io.Npy;
import dev.merapi.io.Safetensors;
import dev.merapi.nn.Linear;
import dev.merapi.op.Op;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Sgd;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** int8 and int16 where they meet what is made for floats: they pass unchanged, or are refused by name. */
class SmallIntegerSeamsTest {
    public record X(Tensor x) {}

    @TempDir
    Path folder;

    private static Tensor bytes() {
        return Tensor.of(new byte[] {-128, -1, 0, 1, 100, 127}, DType.INT8, 2, 3);
    }

    private static Tensor shorts() {
        return Tensor.of(new short[] {-32768, -129, 0, 1, 128, 32767}, 2, 3);
    }

    private static List<Tensor> both() {
        return List.of(bytes(), shorts());
    }

    private static void same(String what, Tensor found, Tensor expected) {
        assertThat(found.describe()).as(what).isEqualTo(expected.describe());
        assertThat(found.toLongArray()).as(what).isEqualTo(expected.toLongArray());
    }

    // ---------------------------------------------------------------- refused

    @Test
    void nothingThatTrainsTakesThem() {
        for (Tensor t : both()) {
            Map<String, Supplier<?>> all = new LinkedHashMap<>();
            all.put("a gradient", () -> t.requiresGrad(true));
            all.put("sgd", () -> new Sgd(List.of(t), 0.1));
            all.put("adamw", () -> new AdamW(List.of(t), 0.1, 0));
            all.put("a model", () -> {
                new Linear(2, 3).to(t.dtype());
                return null;
            });
            all.put("a derivative", () -> Autograd.jvp(x -> x.mul(2), t, t));
            all.put("its tangent", () -> Autograd.jvp(x -> x.mul(2), t.to(DType.FLOAT32), t));
            all.put("a gradient that comes in", () -> {
                Tensor x = t.to(DType.FLOAT32).requiresGrad(true);
                Autograd.backward(x.mul(2), t, Autograd.Graph.FREE);
                return null;
            });
            all.put("a gradient that is set", () -> {
                t.to(DType.FLOAT32).requiresGrad(true).setGrad(t);
                return null;
            });
            all.put("autocast", () -> {
                try (Autocast mode = Autocast.on(t.dtype())) {
                    return null;
                }
            });
            all.forEach((what, call) -> assertThatThrownBy(call::get)
                    .as(what + " of " + t.dtype())
                    .isInstanceOfAny(DTypeException.class, GradientException.class, IllegalArgumentException.class)
                    .satisfies(e -> assertThat(e.getMessage())
                            .as(what)
                            .contains(t.dtype().toString())));
            assertThat(t.requiresGrad()).isFalse();
            assertThat(t.grad()).isNull();
        }
    }

    // ---------------------------------------------------------------- passed on

    @Test
    void autocastLeavesThemAsTheyAre() {
        Map<String, Function<Tensor, Tensor>> all = new LinkedHashMap<>();
        all.put("add", x -> x.add(x));
        all.put("sum", x -> x.sum());
        all.put("amax", x -> x.amax(1));
        all.put("cumsum", x -> x.cumsum(1));
        all.put("cat", x -> Tensor.cat(List.of(x, x), 0));
        all.put("compare", x -> x.lt(0));
        all.put("matmul", x -> x.matmul(x.t()));
        all.put("with float16", x -> x.mul(Tensor.of(0.5f).to(DType.FLOAT16)));
        for (Tensor t : both()) {
            all.forEach((name, f) -> {
                Tensor expected;
                try {
                    expected = f.apply(t);
                } catch (DTypeException refused) {
                    try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
                        assertThatThrownBy(() -> f.apply(t)).hasMessage(refused.getMessage());
                    }
                    return;
                }
                try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
                    Tensor found = f.apply(t);
                    assertThat(found.dtype()).as(name).isEqualTo(expected.dtype());
                    assertThat(found.toDoubleArray()).as(name).isEqualTo(expected.toDoubleArray());
                }
            });
        }
    }

    @Test
    void filesGiveThemBack() throws Exception {
        Map<String, Tensor> all = new LinkedHashMap<>();
        all.put("bytes", bytes());
        all.put("shorts", shorts());
        all.put("odd bytes", bytes().view(6).slice(0, 0, 5));
        all.put("strided", shorts().t());
        all.put("scalar", bytes().select(0, 0).select(0, 0));
        all.put("none", bytes().slice(0, 0, 0));
        Path file = folder.resolve("small.safetensors");
        Safetensors.save(file, all);
        Map<String, Tensor> read = Safetensors.load(file);
        Map<String, Tensor> mapped = Safetensors.map(file);
        try (var open = Safetensors.open(file)) {
            assertThat(open.storedType("bytes")).isEqualTo("I8");
            assertThat(open.storedType("shorts")).isEqualTo("I16");
            Tensor wide = Tensor.zeros(2, 3);
            open.readInto("shorts", wide);
            assertThat(wide.toLongArray()).isEqualTo(shorts().toLongArray());
        }
        for (Map.Entry<String, Tensor> e : all.entrySet()) {
            same("read " + e.getKey(), read.get(e.getKey()), e.getValue().contiguous());
            same("mapped " + e.getKey(), mapped.get(e.getKey()), e.getValue().contiguous());
            Path npy = folder.resolve(e.getKey() + ".npy");
            Npy.save(npy, e.getValue());
            same("npy " + e.getKey(), Npy.load(npy), e.getValue().contiguous());
        }
        Path state = folder.resolve("state.safetensors");
        Safetensors.save(state, new StateDict().put("codes", bytes()).put("step", 3L));
        StateDict back = Safetensors.loadState(state);
        same("state", back.get("codes", Tensor.class), bytes());
        // a private page: written in place, the file stays
        mapped.get("bytes").add_(1);
        same("the file", Safetensors.load(file).get("bytes"), bytes());
    }

    @Test
    void theyArePrinted() {
        assertThat(bytes().toString()).contains("int8", "-128", "127").doesNotContain(".");
        assertThat(shorts().toString()).contains("int16", "-32768", "32767").doesNotContain(".");
        assertThat(Tensor.zeros(100, 100).to(DType.INT8).sub(1).toString()).contains("int8", "-1");
        assertThat(bytes().select(0, 0).select(0, 0).toString()).contains("-128", "int8");
    }

    @Test
    void batchesOfThem() {
        try (DataLoader<Labelled> loader = DataLoader.of(
                        new TensorDataset(shorts().t().contiguous(), Tensor.of(new byte[] {1, 0, -1}, DType.INT8, 3)),
                        2)
                .prefetch(1)) {
            int n = 0;
            for (Labelled batch : loader) {
                assertThat(batch.inputs().dtype()).isEqualTo(DType.INT16);
                assertThat(batch.targets().dtype()).isEqualTo(DType.INT8);
                n += (int) batch.targets().size(0);
            }
            assertThat(n).isEqualTo(3);
        }
    }

    /** A result that is cut to integers depends on nothing. */
    @Test
    void forwardModeEndsAtThem() {
        Tensor x = Tensor.of(1.5, -2.5);
        for (DType type : List.of(DType.INT8, DType.INT16)) {
            assertThat(Autograd.jvp(t -> t.to(type).to(DType.FLOAT64).mul(t), x, x)
                            .tangent()
                            .toDoubleArray())
                    .containsExactly(1 * 1.5, -2 * -2.5);
            assertThat(Autograd.jvp(t -> t.to(type), x, x).tangent().dtype()).isEqualTo(type);
            Tensor small = Tensor.of(2.0, 3).to(type);
            assertThat(Autograd.jvp(t -> t.mul(small), x, x).tangent().toDoubleArray())
                    .containsExactly(3, -7.5);
        }
    }

    /** OpCheck takes samples of them as of any other dtype, and finds what is wrong. */
    @Test
    void checksOfOpsOnThem() {
        for (Tensor t : both()) {
            Op<X, Tensor> good = op("test::negated_" + t.dtype(), 0);
            OpCheck.Report report = OpCheck.of(good)
                    .samples(new X(t))
                    .expecting(a -> a.x().neg())
                    .run()
                    .orThrow();
            assertThat(report.count(OpCheck.Outcome.PASS)).isGreaterThan(5);
            Op<X, Tensor> wrong = op("test::wrong_" + t.dtype(), 1);
            assertThat(OpCheck.of(wrong)
                            .samples(new X(t))
                            .expecting(a -> a.x().neg())
                            .run()
                            .count(OpCheck.Outcome.FAIL))
                    .isGreaterThan(0);
        }
    }

    private static Op<X, Tensor> op(String name, int error) {
        return Op.define(name, X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> {
                    Elements from = Elements.of(a.x());
                    Elements to = Elements.of(out);
                    for (long i = 0; i < from.numel(); i++) {
                        to.setLong(i, -from.getLong(i) + (i == 2 ? error : 0));
                    }
                })
                .nonDifferentiable();
    }
}
