// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.kit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backend;
import dev.merapi.backend.Backends;
import dev.merapi.backend.KernelTable;
import dev.merapi.check.GradCheck;
import dev.merapi.check.OpCheck;
import dev.merapi.layer.CallContext;
import dev.merapi.layer.DispatchLayer;
import dev.merapi.layer.Layers;
import dev.merapi.memory.HeapAllocator;
import dev.merapi.memory.RawAllocator;
import dev.merapi.op.Definition;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.op.OpRegistry;
import dev.merapi.ops.Combine;
import dev.merapi.ops.Pointwise;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.ops.ReductionOp;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.invoke.MethodHandles;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** What ARCHITECTURE.md says under "How to add an op", done step by step: each step is enough for the next. */
@Tag("once")
class HowToTest {
    private static final String POINTWISE = "howto::softsign";
    private static final String REDUCTION = "howto::mean_square";
    private static final String STRUCTURED = "howto::differences";
    private static final Path TOP = Path.of("..");

    private final Scope scope = Scope.open();

    @AfterEach
    void forget() {
        scope.close();
        for (String name : List.of(POINTWISE, REDUCTION, STRUCTURED)) {
            if (OpRegistry.all().stream().anyMatch(op -> op.name().equals(name))) {
                OpRegistry.destroy(name);
            }
        }
    }

    @Test
    void thePlacesThatItNamesAreThere() throws IOException {
        String text = Files.readString(TOP.resolve("ARCHITECTURE.md"));
        String howTo = text.substring(text.indexOf("## How to add an op"));
        int next = howTo.indexOf("\n## ", 4);
        howTo = next < 0 ? howTo : howTo.substring(0, next);
        Map<String, Path> there = new TreeMap<>();
        for (String module : List.of("core", "testkit", "native-cpu", "native-cuda", "examples")) {
            there.put(module, TOP.resolve(module));
            try (Stream<Path> files = Files.walk(TOP.resolve(module).resolve("src"))) {
                for (Path file : files.toList()) {
                    String name = file.getFileName().toString();
                    there.put(name, file);
                    there.put(name.replaceFirst("\\.java$", ""), file);
                }
            }
        }
        Set<String> named = new TreeSet<>();
        Matcher m = Pattern.compile("`([A-Za-z][\\w./-]*)`").matcher(howTo);
        while (m.find()) {
            named.add(m.group(1));
        }
        assertThat(named).contains("ReferenceKernels", "TensorMethods", "structured.def", "DType", "KernelTable");
        assertThat(named.stream()
                        .filter(name -> !there.containsKey(name) && !Files.exists(TOP.resolve(name)))
                        .filter(name -> !isMember(name, there))
                        .collect(Collectors.toSet()))
                .as("named, and nowhere in the sources")
                .isEmpty();
    }

    /** A method or type within a class that is there, such as {@code DeviceType.register}. */
    private static boolean isMember(String name, Map<String, Path> there) {
        String[] parts = name.split("\\.");
        Path file = there.get(parts[0]);
        try {
            return parts.length == 2 && file != null && Files.readString(file).contains(" " + parts[1] + "(");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    void aPointwiseOp() {
        PointwiseOp softsign = Pointwise.define(POINTWISE, x -> x.div(x.abs().add(1)));
        Tensor x = Tensor.of(new double[] {-3, 0.5, 2}).requiresGrad(true);
        assertThat(softsign.call(x).toDoubleArray()).containsExactly(-0.75, 0.5 / 1.5, 2.0 / 3);
        GradCheck.of(in -> softsign.call(in.get(0)), List.of(x)).run().orThrow();
        Tensor y = softsign.call(x);
        Tensor g = Autograd.grad(y.sum(), List.of(x), Autograd.Graph.CREATE).get(0);
        assertThat(Autograd.grad(g.sum(), List.of(x)).get(0).toDoubleArray()[2]).isEqualTo(-2.0 / 27);
    }

    @Test
    void aReduction() {
        ReductionOp meanSquare = ReductionOp.define(REDUCTION, x -> x.square(), Combine.MEAN);
        Tensor x = Tensor.of(new double[] {1, 2, 3, 4}, 2, 2).requiresGrad(true);
        assertThat(meanSquare.call(x, 1).toDoubleArray()).containsExactly(2.5, 12.5);
        GradCheck.of(in -> meanSquare.call(in.get(0), 1), List.of(x)).run().orThrow();
    }

    record Args(Tensor x) {}

    /** x[i + 1] − x[i] along the last dimension. */
    private static Op<Args, Tensor> differences() {
        return Op.define(MethodHandles.lookup(), STRUCTURED, Args.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x(), a.x().shape().with(a.x().rank() - 1, a.x().size(-1) - 1)))
                .reference((a, out) -> differences(a.x(), out))
                .saveForBackward((a, out) -> null)
                .backward((context, saved, g) -> Grads.of("x", g.pad(0, 1, 0).sub(g.pad(0, 0, 1))))
                .register();
    }

    private static void differences(Tensor x, Tensor out) {
        Elements from = Elements.of(x);
        Elements to = Elements.of(out);
        long n = x.size(-1);
        for (long i = 0; i < out.numel(); i++) {
            long at = i / (n - 1) * n + i % (n - 1);
            to.setDouble(i, from.getDouble(at + 1) - from.getDouble(at));
        }
    }

    @Test
    void aStructuredOp() {
        Op<Args, Tensor> op = differences();
        Args sample = new Args(Tensor.of(new double[] {1, 4, 9, 16, 0, 5}, 2, 3).requiresGrad(true));
        assertThat(op.call(sample).toDoubleArray()).containsExactly(3, 5, -16, 5);
        OpCheck.of(op).samples(sample).run().orThrow();
    }

    /** A backend of one kernel: what it has none for runs in plain Java, as Java sees its memory. */
    private static final class OneKernel implements Backend {
        private final DeviceType type = DeviceType.register("howto");
        private final RawAllocator memory = new HeapAllocator();
        private final KernelTable table = new KernelTable();
        private int runs;

        OneKernel() {
            table.put(STRUCTURED, Args.class, KernelTable.ALL, (a, out) -> {
                runs++;
                differences(a.x(), out);
            });
        }

        @Override
        public DeviceType deviceType() {
            return type;
        }

        @Override
        public String description() {
            return "one kernel";
        }

        @Override
        public RawAllocator memory(int index) {
            return memory;
        }

        @Override
        public KernelTable kernelTable() {
            return table;
        }
    }

    @Test
    void aBackend() {
        Op<Args, Tensor> op = differences();
        OneKernel backend = new OneKernel();
        try (Backends.Registration registered = Backends.register(backend);
                Scope there = Scope.open()) {
            Device device = Device.of(backend.type, 0);
            Tensor x = Tensor.of(new double[] {1, 4, 9}).to(device).requiresGrad(true);
            Tensor y = op.call(new Args(x));
            assertThat(y.device()).isEqualTo(device);
            assertThat(y.toDoubleArray()).containsExactly(3, 5);
            assertThat(backend.runs).as("its own kernel").isEqualTo(1);
            Autograd.backward(y.square().sum()); // plain Java
            assertThat(x.grad().toDoubleArray()).containsExactly(-6, -4, 10);
        }
    }

    @Test
    void aLayer() {
        List<String> seen = new ArrayList<>();
        DispatchLayer layer = new DispatchLayer() {
            @Override
            public <A extends Record, R> R call(Definition<A, R> op, A args, CallContext context, int below) {
                seen.add(op.name());
                return Layers.below(op, args, context, below);
            }
        };
        try (Layers.Pushed on = Layers.push(layer)) {
            Tensor unused = Tensor.of(1f, 2f).square().sum();
        }
        assertThat(seen).containsExactly("merapi::square", "merapi::sum");
    }
}
