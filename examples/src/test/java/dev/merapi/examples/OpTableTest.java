// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backend;
import dev.merapi.backend.Backends;
import dev.merapi.cuda.CudaSim;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.error.DTypeException;
import dev.merapi.error.GradientException;
import dev.merapi.error.MissingBackwardException;
import dev.merapi.error.MissingKernelException;
import dev.merapi.error.SavedTensorException;
import dev.merapi.op.Definition;
import dev.merapi.op.Op;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.testkit.Kinds;
import dev.merapi.testkit.Maker;
import dev.merapi.testkit.OpRows;
import dev.merapi.testkit.OpSamples;
import dev.merapi.testkit.Ops;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/**
 * The table of docs/ops.md is what the engine says of its ops: dtypes from the rows that every backend's contract runs, kernels
 * from the backends, and orders of gradients by differentiating the samples. {@code -Dmerapi.documents.update=true} writes it.
 */
final class OpTableTest {
    private static final String PAGE = "docs/ops.md";
    private static final String BEGIN = "<!-- written by OpTableTest -->\n";
    private static final String END = "<!-- end -->";

    /** How often samples are differentiated; what gets so far stops nowhere. */
    private static final int MOST = 3;

    /** Family to the sources that its ops are defined in. */
    private static final Map<String, List<String>> FAMILIES = families();

    private static Map<String, List<String>> families() {
        Map<String, List<String>> all = new LinkedHashMap<>();
        all.put("Arithmetic", List.of("Arithmetic"));
        all.put("Functions of one number", List.of("Elementary"));
        all.put("Activations", List.of("Activations", "FeedForwardOp"));
        all.put("Comparisons, logic and bits", List.of("Comparisons"));
        all.put("Reductions", List.of("Reductions", "Reduction"));
        all.put("Along a dimension: scans, softmax, order", List.of("Scans", "Softmax", "Ordering", "Searching"));
        all.put("Products of matrices", List.of("LinearAlgebra"));
        all.put("Attention and recurrent cells", List.of("Attention", "SelfAttention", "Recurrent"));
        all.put("Convolution, pooling and windows", List.of("Convolution", "Pooling", "Windows", "Images"));
        all.put("Norms", List.of("Normalization", "BatchNorm"));
        all.put("Losses", List.of("Losses", "LinearCrossEntropy"));
        all.put("Indexing", List.of("Indexing", "TensorIndexing", "Scattering"));
        all.put("Views and shapes", List.of("Views", "Joining", "Rearranging"));
        all.put("Making, copying and converting", List.of("Factories", "CopyOps"));
        all.put("Random numbers", List.of("RandomOps"));
        all.put("Optimisers", List.of("Optimizers", "StepOp"));
        return all;
    }

    @Test
    void theTableIsWhatTheEngineSays() throws IOException {
        assumeTrue(BackendChoice.of(DeviceType.CPU) != BackendChoice.fallback(), "needs native kernels");
        assumeTrue(CudaSim.isAvailable(), "needs a C++ compiler, for the simulator");
        String page = Documents.text(PAGE);
        int begin = page.indexOf(BEGIN) + BEGIN.length();
        String now = page.substring(0, begin) + table() + page.substring(page.indexOf(END));
        if (Boolean.getBoolean("merapi.documents.update")) {
            Files.writeString(Documents.ROOT.resolve(PAGE), now);
        }
        assertThat(Documents.text(PAGE))
                .as("written anew by -Dmerapi.documents.update=true")
                .isEqualTo(now);
    }

    /** What is compared would not notice an op without a family. */
    @Test
    void everyOpHasAFamily() {
        List<String> without = Ops.builtIn().stream()
                .filter(op -> family(op) == null)
                .map(op -> op.name() + " of " + op.definedAt())
                .toList();
        assertThat(without).isEmpty();
    }

    /** Counts that are known otherwise. */
    @Test
    void ordersAreFoundByDifferentiating() {
        Map<String, OpSamples<?, ?>> rows = rows();
        assertThat(gradient(row(rows, "merapi::mul")).order()).isEqualTo(MOST + "+");
        assertThat(gradient(row(rows, "merapi::floor")).order()).isEqualTo("0");
        assertThat(gradient(row(rows, "merapi::argmax")).order()).isEqualTo("–");
    }

    // ---------------------------------------------------------------- the text

    private static String table() {
        Map<String, OpSamples<?, ?>> rows = rows();
        Map<String, Map<String, List<String>>> families = new LinkedHashMap<>();
        FAMILIES.keySet().forEach(f -> families.put(f, new TreeMap<>()));
        int count = 0;
        for (Op<?, ?> op : Ops.builtIn()) {
            count++;
            OpSamples<?, ?> row = rows.get(op.name());
            families.computeIfAbsent(String.valueOf(family(op)), f -> new TreeMap<>())
                    .computeIfAbsent(cells(op, row), c -> new ArrayList<>())
                    .add("`" + op.name().replace("merapi::", "") + "`");
        }
        StringBuilder text = new StringBuilder("\n" + count + " ops.\n");
        families.forEach((family, byCells) -> {
            text.append("\n### ").append(family).append("\n\n");
            text.append("| ops | dtypes | CPU | CUDA | gradient | forward |\n|---|---|---|---|---|---|\n");
            byCells.entrySet().stream()
                    .sorted(Map.Entry.comparingByValue((a, b) -> a.size() != b.size()
                            ? b.size() - a.size()
                            : a.get(0).compareTo(b.get(0))))
                    .forEach(e -> text.append("| ")
                            .append(String.join(" ", e.getValue()))
                            .append(" | ")
                            .append(e.getKey())
                            .append(" |\n"));
        });
        return text.append("\n").toString();
    }

    private static Map<String, OpSamples<?, ?>> rows() {
        return OpRows.all().stream().collect(Collectors.toMap(row -> row.op().name(), row -> row));
    }

    private static OpSamples<?, ?> row(Map<String, OpSamples<?, ?>> rows, String op) {
        return Objects.requireNonNull(rows.get(op), op);
    }

    private static @Nullable String family(Op<?, ?> op) {
        String source =
                op.name().equals("merapi::extremum_backward") // comes with the first reduction, wherever that is
                        ? "Reductions"
                        : op.definedAt().toString().replaceFirst("\\.java:\\d+$", "");
        return FAMILIES.entrySet().stream()
                .filter(e -> e.getValue().contains(source))
                .map(Map.Entry::getKey)
                .findFirst()
                .orElse(null);
    }

    private static String cells(Op<?, ?> op, @Nullable OpSamples<?, ?> row) {
        List<DType> dtypes = row == null ? List.of(DType.FLOAT32) : taken(row);
        Gradient g = row == null ? new Gradient("–", "–") : gradient(row);
        Backend cpu = BackendChoice.of(DeviceType.CPU);
        Backend cuda = Backends.of(DeviceType.CUDA_SIM);
        return String.join(
                " | ",
                row == null ? "*" : names(dtypes),
                where(dtypes, d -> served(op.definition(), cpu, d, true)),
                where(dtypes, d -> served(op.definition(), cuda, d, false)),
                g.order(),
                g.forward());
    }

    /** The dtypes of the row, and those in which its first sample runs all the same. */
    private static <A extends Record, R> List<DType> taken(OpSamples<A, R> row) {
        List<DType> taken = new ArrayList<>();
        for (DType dtype : DType.values()) {
            if (row.dtypes().contains(dtype)) {
                taken.add(dtype);
                continue;
            }
            try (Scope scope = Scope.open()) {
                A args = row.makers().get(0).apply(new Maker(dtype, Device.CPU, 7, false));
                Autograd.noGrad(() -> row.op().call(args));
                taken.add(dtype);
            } catch (DTypeException | MissingKernelException e) {
                continue; // refused by name, as the contract holds every backend to
            }
        }
        return taken;
    }

    /** {@code f i b} for all floats, all integers and bool; single ones by their short names. */
    private static String names(List<DType> dtypes) {
        List<String> names = new ArrayList<>();
        group(dtypes, Kinds.floats(), "f", names);
        group(dtypes, Kinds.integers(), "i", names);
        group(dtypes, new DType[] {DType.BOOL}, "b", names);
        return String.join(" ", names);
    }

    private static void group(List<DType> dtypes, DType[] kind, String all, List<String> names) {
        if (dtypes.containsAll(List.of(kind))) {
            names.add(all);
        } else {
            Arrays.stream(kind)
                    .filter(dtypes::contains)
                    .map(d -> d.toString()
                            .toLowerCase(Locale.ROOT)
                            .replace("bfloat", "bf")
                            .replace("float", "f")
                            .replace("uint", "u")
                            .replace("int", "i"))
                    .forEach(names::add);
        }
    }

    // ---------------------------------------------------------------- kernels

    private static String where(List<DType> dtypes, Function<DType, String> served) {
        Map<String, List<DType>> by = new LinkedHashMap<>();
        dtypes.forEach(
                d -> by.computeIfAbsent(served.apply(d), s -> new ArrayList<>()).add(d));
        return by.size() == 1
                ? by.keySet().iterator().next()
                : by.entrySet().stream()
                        .map(e -> e.getKey() + " " + names(e.getValue()))
                        .collect(Collectors.joining(", "));
    }

    /** In the order in which a call looks for them. */
    private static String served(Definition<?, ?> op, Backend backend, DType dtype, boolean java) {
        if (op.isView()) {
            return "view";
        }
        if (op.kernel(backend.deviceType(), dtype) != null || backend.kernel(op, dtype) != null) {
            return "●";
        }
        if (java && BackendChoice.javaKernel(op, dtype) != null) {
            return "J";
        }
        return op.compose() != null ? "○" : "–";
    }

    // ---------------------------------------------------------------- gradients

    /** @param order "–" for none, "0" for zeros, else how often it can be differentiated */
    private record Gradient(String order, String forward) {}

    private static <A extends Record, R> Gradient gradient(OpSamples<A, R> row) {
        if (!row.dtypes().contains(DType.FLOAT64) || row.op().definition().isNonDifferentiable()) {
            return new Gradient("–", "–");
        }
        int order = Integer.MAX_VALUE;
        boolean zeros = true;
        boolean forward = true;
        for (Function<Maker, A> make : row.checkedMakers()) {
            Call<A, R> call = new Call<>(row, make);
            int found = call.order(MOST);
            if (found >= 0) {
                order = Math.min(order, found);
                zeros &= call.onlyZeros;
                forward &= call.hasForward();
            }
        }
        return order == Integer.MAX_VALUE
                ? new Gradient("–", "–")
                : new Gradient(zeros ? "0" : order == MOST ? MOST + "+" : "" + order, forward ? "✔" : "✘");
    }

    /** A sample in float64, made anew for each use. */
    private static final class Call<A extends Record, R> {
        private final Op<A, R> op;
        private final Function<Maker, A> make;
        private boolean onlyZeros = true;

        Call(OpSamples<A, R> row, Function<Maker, A> make) {
            this.op = row.op();
            this.make = make;
        }

        private @Nullable Tensor[] inputs(A args) {
            return op.schema().tensors(op.name(), args);
        }

        /** Of {@code given} in place of the sample's tensors; what is written is a copy. */
        private List<Tensor> outputs(A args, @Nullable Tensor[] given) {
            boolean[] written = op.definition().mutatedSlots(args);
            @Nullable Tensor[] passed = given.clone();
            List<Tensor> outputs = new ArrayList<>();
            for (int i = 0; i < passed.length; i++) {
                Tensor t = passed[i];
                if (written[i] && t != null) {
                    passed[i] = t.copy();
                    outputs.add(passed[i]);
                }
            }
            R result = op.call(op.schema().rebuild(args, passed));
            Tensor[] made = op.result().tensors(op.name(), result);
            for (int i = 0; i < made.length; i++) {
                if (!op.definition().isInternal(result, i) && outputs.stream().noneMatch(List.of(made[i])::contains)) {
                    outputs.add(made[i]);
                }
            }
            return outputs;
        }

        /** How often the cubes of all outputs can be differentiated by all inputs; -1 if the sample asks for none. */
        int order(int most) {
            for (Autograd.Graph graph : List.of(Autograd.Graph.CREATE, Autograd.Graph.FREE)) {
                try (Scope scope = Scope.open()) {
                    A args = make.apply(new Maker(DType.FLOAT64, Device.CPU, 7, true));
                    List<Tensor> wanted = Arrays.stream(inputs(args))
                            .filter(t -> t != null && t.requiresGrad())
                            .map(Objects::requireNonNull)
                            .distinct()
                            .toList();
                    List<Tensor> roots = outputs(args, inputs(args)).stream()
                            .filter(Tensor::requiresGrad)
                            .map(t -> t.mul(t).mul(t))
                            .toList();
                    if (wanted.isEmpty() || roots.isEmpty()) {
                        return -1;
                    }
                    int order = differentiated(roots, wanted, graph, graph == Autograd.Graph.CREATE ? most : 1);
                    if (order > 0) {
                        return order;
                    }
                }
            }
            return 0;
        }

        private int differentiated(List<Tensor> first, List<Tensor> wanted, Autograd.Graph graph, int most) {
            List<Tensor> roots = first;
            for (int k = 0; k < most; k++) {
                List<Tensor> found = new ArrayList<>();
                try {
                    List<Tensor> weights = roots.stream().map(Call::weights).toList();
                    for (Tensor g : Autograd.grad(roots, wanted, weights, graph, true)) {
                        if (g != null) {
                            onlyZeros &= k > 0 || !g.ne(0).any().itemBoolean();
                            found.add(g);
                        }
                    }
                } catch (GradientException | MissingBackwardException | SavedTensorException e) {

                    return k;
                }
                roots = found.stream().filter(Tensor::requiresGrad).toList();
                if (roots.isEmpty()) {
                    return found.isEmpty() ? k : k + 1;
                }
            }
            return most;
        }

        private static Tensor weights(Tensor t) {
            return new Maker(t.dtype(), t.device(), t.numel(), false)
                    .uniform(0.5, 1, t.shape().toArray());
        }

        boolean hasForward() {
            try (Scope scope = Scope.open()) {
                A args = make.apply(new Maker(DType.FLOAT64, Device.CPU, 7, true));
                @Nullable Tensor[] inputs = inputs(args);
                List<Integer> slots = new ArrayList<>();
                for (int i = 0; i < inputs.length; i++) {
                    Tensor t = inputs[i];
                    if (t != null && t.requiresGrad()) {
                        slots.add(i);
                    }
                }
                List<Tensor> at = slots.stream()
                        .map(i -> Objects.requireNonNull(inputs[i]).detach())
                        .toList();
                Autograd.jvpMany(
                        given -> {
                            @Nullable Tensor[] all = inputs.clone();
                            for (int k = 0; k < given.size(); k++) {
                                all[slots.get(k)] = given.get(k);
                            }
                            return outputs(args, all).stream()
                                    .filter(t -> t.dtype().isFloating())
                                    .toList();
                        },
                        at,
                        at.stream().map(Call::weights).toList());
                return true;
            } catch (GradientException | MissingBackwardException e) {
                return false;
            }
        }
    }
}
