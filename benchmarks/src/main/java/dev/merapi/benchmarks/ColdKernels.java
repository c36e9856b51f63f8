// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.autograd.Autograd;
import dev.merapi.ops.Attention;
import dev.merapi.ops.Convolution;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Normalization;
import dev.merapi.ops.Pooling;
import dev.merapi.optim.AdamW;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.io.BufferedReader;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/**
 * How long does a call take whose kernels have never been compiled? On a driver that does nothing, with NVIDIA's run-time
 * compiler, for compute capability 9.0: what is left out is the driver's loading of the image. Fresh processes, in which the
 * Java code is warm (each call has been made in another dtype) and the kernel cache empty; prints the medians, and per
 * kernel. Needs a C compiler and NVRTC (docs/gpu.md says where it is looked for), and no GPU.
 */
public final class ColdKernels {
    private ColdKernels() {}

    /** What the processes do: for each call, a line with its name, its milliseconds, and how many kernels it needed. */
    public static final class Calls {
        private static final ThreadMXBean CLOCK = ManagementFactory.getThreadMXBean();

        private interface Call {
            Object run();
        }

        private final Map<String, Supplier<Call>> all = new LinkedHashMap<>();
        private final Device device;
        private final DType dtype;

        private Calls(Device device, DType dtype) {
            this.device = device;
            this.dtype = dtype;
            pointwise();
            reductions();
            rows();
            products();
            others();
        }

        private Tensor x(long... shape) {
            return Tensor.zeros(Shape.of(shape), dtype, device);
        }

        private Tensor indices(long... shape) {
            return Tensor.zeros(Shape.of(shape), DType.INT64, device);
        }

        /** A call of an input that has a gradient, and the gradient's. */
        private void both(String name, UnaryOperator<Tensor> f, long... shape) {
            forward(name, f, shape);
            all.put(name + ", backward", () -> {
                Tensor in = x(shape).requiresGrad(true);
                Tensor out = f.apply(in);
                Tensor g = Tensor.zeros(out.shape(), out.dtype(), device);
                return () -> Autograd.grad(List.of(out), List.of(in), List.of(g), Autograd.Graph.FREE, false);
            });
        }

        private void forward(String name, UnaryOperator<Tensor> f, long... shape) {
            all.put(name, () -> {
                Tensor in = x(shape);
                return () -> f.apply(in);
            });
        }

        private void pointwise() {
            Tensor row = x(64);
            forward("add", t -> t.add(t), 64, 64);
            forward("mul, broadcast", t -> t.mul(row), 64, 64);
            forward("exp of a transposed sum", t -> t.transpose(0, 1).add(row).exp(), 64, 64);
            both("gelu", Tensor::gelu, 64, 64);
        }

        private void reductions() {
            forward("sum, rows", t -> t.sum(1), 64, 64);
            forward("sum, columns", t -> t.sum(0), 64, 64);
            forward("sum, in stages", Tensor::sum, 1 << 20);
            forward("var", t -> t.var(1), 64, 64);
            forward("argmax", t -> t.argmax(1), 64, 64);
            forward("cumsum", t -> t.cumsum(1), 64, 64);
        }

        private void rows() {
            both("softmax, short rows", t -> t.softmax(1), 64, 64);
            both("softmax, long rows", t -> t.softmax(1), 2, 32_768);
            both("softmax, channels", t -> t.softmax(1), 2, 21, 64, 64);
            both("softmax, long columns", t -> t.softmax(0), 4096, 64);
            Tensor weight = x(768).requiresGrad(true);
            both("layer norm", t -> Normalization.layerNorm(t, new long[] {768}, weight, weight, 1e-5), 64, 768);
            Tensor targets = indices(8);
            both("cross entropy", t -> Losses.crossEntropy(t, targets), 8, 50_304);
        }

        private void products() {
            forward("matmul", t -> t.matmul(t), 512, 512);
            forward("matmul, large", t -> t.matmul(t), 4096, 4096);
            forward("matmul, transposed", t -> t.matmul(t.transpose(0, 1)), 512, 512);
            both("attention, 64 wide", t -> Attention.attention(t, t, t, true), 1, 2, 256, 64);
            both("attention, 128 wide", t -> Attention.attention(t, t, t, true), 1, 2, 256, 128);
            Tensor filter = x(32, 16, 3, 3).requiresGrad(true);
            both("convolution", t -> Convolution.conv2d(t, filter, null, 1, 1, 1, 1), 2, 16, 32, 32);
            both("max pool", t -> Pooling.maxPool2d(t, 2, 2, 0), 2, 16, 32, 32);
        }

        private void others() {
            Tensor tokens = indices(256);
            Tensor one = indices(1, 64);
            both("embedding", t -> t.embedding(tokens), 1000, 64);
            forward("gather", t -> t.gather(0, one), 1000, 64);
            forward("dropout", t -> t.dropout(0.1, true), 1000);
            forward("randn", t -> Tensor.randn(t.shape(), dtype, device), 1000);
            forward("topk", t -> t.topk(5, 1, true).values(), 64, 64);
            forward("copy, transposed", t -> t.transpose(0, 1).contiguous(), 64, 64);
            all.put("AdamW", () -> {
                Tensor p = x(1000).requiresGrad(true);
                p.setGrad(x(1000));
                AdamW optimizer = new AdamW(List.of(p), 1e-4, 0.1);
                return () -> {
                    optimizer.step();
                    return p;
                };
            });
        }

        private static long images() {
            try (Stream<Path> files = Files.list(Path.of(System.getProperty("merapi.cuda.cache")))) {
                return files.count();
            } catch (IOException e) {
                return 0;
            }
        }

        public static void main(String[] args) throws Exception {
            Device device = NullCuda.installWithoutCompiler();
            new Calls(device, DType.FLOAT32)
                    .all
                    .values()
                    .forEach(prepare -> prepare.get().run());
            new Calls(device, DType.BFLOAT16).all.forEach((name, prepare) -> {
                Call call = prepare.get();
                long before = images();
                long start = CLOCK.getCurrentThreadCpuTime();
                call.run();
                long time = CLOCK.getCurrentThreadCpuTime() - start;
                System.out.println(name + "\t" + time / 1e6 + "\t" + (images() - before));
            });
        }
    }

    private static void process(Map<String, List<double[]>> into) throws IOException, InterruptedException {
        ProcessBuilder builder = new ProcessBuilder(List.of(
                ProcessHandle.current().info().command().orElse("java"),
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty("java.class.path"),
                Calls.class.getName()));
        builder.redirectError(ProcessBuilder.Redirect.INHERIT);
        Process process = builder.start();
        try (BufferedReader output = process.inputReader()) {
            for (String line = output.readLine(); line != null; line = output.readLine()) {
                String[] parts = line.split("\t");
                into.computeIfAbsent(parts[0], name -> new ArrayList<>())
                        .add(new double[] {Double.parseDouble(parts[1]), Double.parseDouble(parts[2])});
            }
        }
        if (process.waitFor() != 0) {
            throw new IOException("the process failed: code " + process.exitValue());
        }
    }

    public static void main(String[] args) throws IOException, InterruptedException {
        int processes = args.length > 0 ? Integer.parseInt(args[0]) : 5;
        Map<String, List<double[]>> all = new LinkedHashMap<>();
        for (int i = 0; i < processes; i++) {
            process(all);
        }
        System.out.println("| first call, bfloat16 | kernels | ms of a processor | per kernel |\n|---|---|---|---|");
        all.forEach((name, rounds) -> {
            double[] times = rounds.stream().mapToDouble(r -> r[0]).sorted().toArray();
            double median = times[times.length / 2];
            double kernels = rounds.get(0)[1];
            System.out.printf("| %s | %.0f | %.0f | %.0f |%n", name, kernels, median, median / Math.max(1, kernels));
        });
    }
}
