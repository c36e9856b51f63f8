// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.cuda.report.EpilogueCost;
import dev.merapi.cuda.report.LaunchCost;
import dev.merapi.device.Memory;
import dev.merapi.expr.Exprs;
import dev.merapi.nn.Conv2d;
import dev.merapi.nn.Linear;
import dev.merapi.nn.Sequential;
import dev.merapi.ops.Attention;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Normalization;
import dev.merapi.ops.Pointwise;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.ops.Pooling;
import dev.merapi.optim.AdamW;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;

/**
 * The questions of {@link DeviceReport}; {@code benchmarks/peers/pytorch_bench.py} asks PyTorch the same under the same
 * keys. Bytes are the fewest that have to move: each input read once, each output written once.
 */
final class DeviceQuestions {
    private static final PointwiseOp MUL_ADD_RELU = Pointwise.define(
            "bench::device_mul_add_relu", (x, y, z) -> Exprs.relu(x.mul(y).add(z)));
    private static final int TENSORS_OF = 1 << 20;
    private static final int BURST = 400;

    private final Device device;
    private final DeviceSizes sizes;
    private final DeviceClock clock;
    private final DeviceReport.Sink sink;

    DeviceQuestions(Device device, DeviceSizes sizes, DeviceClock clock, DeviceReport.Sink sink) {
        this.device = device;
        this.sizes = sizes;
        this.clock = clock;
        this.sink = sink;
    }

    /** What matters most comes first: time on a device may end early. */
    void all() {
        sink.part("gpt2_step_bf16", () -> gpt(false));
        sink.part("gpt2_step_bf16_params", () -> gpt(true));
        sizes.matrices().forEach(n -> sink.part("matmul_" + n, () -> matrices(n)));
        sink.part("attention", this::attention);
        sink.part("adamw", this::optimizer);
        sink.part("host", this::host);
        sink.part("epilogues", this::epilogues);
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16)) {
            sink.part("memory_" + dtype.shortName(), () -> memory(dtype));
            sink.part("rows_" + dtype.shortName(), () -> rows(dtype));
        }
        sink.part("cnn_step", this::cnn);
    }

    private Tensor random(DType dtype, long... shape) {
        return Tensor.randn(Shape.of(shape), dtype, device);
    }

    // ---------------------------------------------------------------- what only moves memory

    private void bandwidth(String key, double bytes, Runnable call) {
        sink.ask(
                key,
                "GB/s",
                () -> bytes
                        / clock.seconds(() -> Autograd.noGrad(() -> {
                            call.run();
                            return 0;
                        }))
                        * 1e-9);
    }

    private static String suffix(DType dtype) {
        return dtype == DType.FLOAT32 ? "" : "_" + dtype.shortName();
    }

    private void memory(DType dtype) {
        long n = sizes.elements();
        double pass = (double) dtype.byteSize() * n;
        String suffix = suffix(dtype);
        try (Scope scope = Scope.open()) {
            Tensor x = random(dtype, n);
            Tensor y = random(dtype, n);
            Tensor z = random(dtype, n);
            if (dtype == DType.FLOAT32) {
                bandwidth("copy", 2 * pass, () -> y.copy_(x));
            }
            bandwidth("add" + suffix, 3 * pass, () -> x.add(y));
            bandwidth("mul_add_relu" + suffix, 4 * pass, () -> MUL_ADD_RELU.call(x, y, z));
            bandwidth("gelu" + suffix, 2 * pass, x::gelu);
            bandwidth("sum" + suffix, pass, x::sum);
        }
        Memory.trim(device);
    }

    private void rows(DType dtype) {
        long n = sizes.elements();
        double pass = (double) dtype.byteSize() * n;
        long width = sizes.rowLength();
        String suffix = suffix(dtype);
        try (Scope scope = Scope.open()) {
            Tensor x = random(dtype, n / width, width);
            Tensor weight = random(dtype, width);
            Tensor bias = random(dtype, width);
            bandwidth("softmax" + suffix, 2 * pass, () -> x.softmax(1));
            bandwidth(
                    "layer_norm" + suffix,
                    2 * pass,
                    () -> Normalization.layerNorm(x, new long[] {width}, weight, bias, 1e-5));
        }
        long rows = Math.max(1, n / sizes.vocabulary());
        try (Scope scope = Scope.open()) {
            Tensor logits = random(dtype, rows, sizes.vocabulary());
            Tensor targets = Tensor.randint(0, sizes.vocabulary(), rows).to(device);
            bandwidth(
                    "cross_entropy" + suffix,
                    (double) dtype.byteSize() * rows * sizes.vocabulary(),
                    () -> Losses.crossEntropy(logits, targets));
        }
        Memory.trim(device);
    }

    // ---------------------------------------------------------------- what computes

    private void rate(String key, double operations, Runnable call) {
        sink.ask(key, "TFLOP/s", () -> operations / clock.seconds(call) * 1e-12);
    }

    private void matrices(long n) {
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16)) {
            try (Scope scope = Scope.open()) {
                Tensor a = random(dtype, n, n);
                Tensor b = random(dtype, n, n);
                rate("matmul_" + dtype.shortName() + "_" + n, 2.0 * n * n * n, () -> a.matmul(b));
                if (dtype == DType.FLOAT32 && device.type() == DeviceType.CUDA) {
                    withTf32(() -> rate("matmul_tf32_" + n, 2.0 * n * n * n, () -> a.matmul(b)));
                }
            }
        }
        Memory.trim(device);
    }

    private static void withTf32(Runnable questions) {
        boolean before = Merapi.isTf32Allowed();
        Merapi.allowTf32(true);
        try {
            questions.run();
        } finally {
            Merapi.allowTf32(before);
        }
    }

    private void attention() {
        long b = sizes.attentionBatch();
        long t = sizes.attentionLength();
        // Two products of 2·t²·d operations a head, of which the causal mask leaves half; five in backward.
        double product = 2.0 * b * sizes.heads() * t * t * sizes.headWidth() / 2;
        try (Scope scope = Scope.open()) {
            Tensor[] qkv = new Tensor[3];
            for (int i = 0; i < 3; i++) {
                qkv[i] = random(DType.BFLOAT16, b, sizes.heads(), t, sizes.headWidth());
            }
            rate(
                    "attention_forward_bf16",
                    2 * product,
                    () -> Autograd.noGrad(() -> Attention.attention(qkv[0], qkv[1], qkv[2], true)));
            for (Tensor x : qkv) {
                x.requiresGrad(true);
            }
            Tensor gradient = random(DType.BFLOAT16, b, sizes.heads(), t, sizes.headWidth());
            rate("attention_forward_backward_bf16", 7 * product, () -> {
                Tensor out = Attention.attention(qkv[0], qkv[1], qkv[2], true);
                Autograd.grad(List.of(out), List.of(qkv), List.of(gradient), Autograd.Graph.FREE, false);
            });
        }
        Memory.trim(device);
    }

    private void optimizer() {
        List<Tensor> parameters = new ArrayList<>();
        try (Scope scope = Scope.open()) {
            for (long left = sizes.adamParameters(); left > 0; left -= TENSORS_OF) {
                parameters.add(random(DType.FLOAT32, Math.min(left, TENSORS_OF)).requiresGrad(true));
            }
            try (AdamW optimizer = new AdamW(parameters, 1e-4, 0.1)) {
                for (Tensor p : parameters) {
                    Autograd.backward(p.sum());
                }
                // Reads parameter, gradient and two moments, writes all but the gradient.
                bandwidth("adamw_124m", 7.0 * 4 * sizes.adamParameters(), optimizer::step);
            }
        }
        Memory.trim(device);
    }

    private void host() {
        try (Scope scope = Scope.open()) {
            Tensor x = random(DType.FLOAT32, 8);
            Tensor y = random(DType.FLOAT32, 8);
            sink.ask("host_add_8", "µs", () -> 1e6 * Autograd.noGrad(() -> clock.hostSeconds(() -> x.add(y), burst())));
        }
        if (device.type() == DeviceType.CUDA) {
            sink.ask("host_launch", "µs", () -> 1e6 * clock.hostSeconds(LaunchCost.on(device)::seconds, burst()));
        }
    }

    private int burst() {
        return sizes.small() ? 4 : BURST;
    }

    /** Where no library multiplies there is nothing to choose. */
    private void epilogues() {
        if (device.type() != DeviceType.CUDA || !EpilogueCost.isAsked(device)) {
            sink.leaveOut(
                    "epilogue_", "no library multiplies on " + device + ": there are no epilogues to choose from");
        } else {
            DeviceClock short_ = new DeviceClock(device, 3, sizes.small());
            new EpilogueQuestions(sizes.gpt(), (e, rows, in, out) -> {
                        try (Scope scope = Scope.open()) {
                            Runnable call = EpilogueCost.of(device, e, rows, in, out);
                            return Autograd.noGrad(() -> short_.seconds(call));
                        }
                    })
                    .ask(sink::ask);
            Memory.trim(device);
        }
    }

    // ---------------------------------------------------------------- training steps

    /** @param whole whether all of the model is bfloat16, with fused layers and float32 masters; else it is by autocast */
    private void gpt(boolean whole) {
        String key = whole ? "gpt2_step_bf16_params" : "gpt2_step_bf16";
        if (!sink.asksOfStep(key) && !sink.asks("gpt2_step_f32")) {
            return; // the model is large
        }
        DeviceSizes.GptSizes s = sizes.gpt();
        long count = s.batch() * s.context();
        try (Scope scope = Scope.open()) {
            GptModel model = new GptModel(s, whole);
            model.to(device);
            if (whole) {
                model.to(DType.BFLOAT16);
            }
            Tensor input =
                    Tensor.randint(0, s.vocabulary(), s.batch(), s.context()).to(device);
            Tensor targets =
                    Tensor.randint(0, s.vocabulary(), s.batch(), s.context()).to(device);
            try (AdamW optimizer = new AdamW(model.parameters(), 3e-4, 0.1)) {
                Supplier<Tensor> step = () -> {
                    Tensor loss;
                    try (Autocast mode = whole ? Autocast.off() : Autocast.on(device.type(), DType.BFLOAT16)) {
                        loss = model.loss(input, targets);
                    }
                    step(loss, optimizer);
                    return loss.detach();
                };
                new DeviceSteps(device, clock, step).ask(sink, key, "tokens/s", count);
                // bf16 by conversion is no gain without matrix units: there float32 is what people train in.
                if (!whole && device.type() != DeviceType.CUDA) {
                    sink.ask(
                            "gpt2_step_f32",
                            "tokens/s",
                            () -> count / clock.seconds(() -> step(model.loss(input, targets), optimizer)));
                }
            }
        }
        Memory.trim(device);
    }

    private void cnn() {
        try (Scope scope = Scope.open()) {
            Sequential model = new Sequential()
                    .then(new Conv2d(1, 32, 3, 1, 1))
                    .then(Tensor::relu)
                    .then(halved())
                    .then(new Conv2d(32, 64, 3, 1, 1))
                    .then(Tensor::relu)
                    .then(halved())
                    .then(x -> x.flatten(1, -1))
                    .then(new Linear(64 * 7 * 7, 128))
                    .then(Tensor::relu)
                    .then(new Linear(128, 10));
            model.to(device);
            Tensor images = random(DType.FLOAT32, sizes.images(), 1, 28, 28);
            Tensor targets = Tensor.randint(0, 10, sizes.images()).to(device);
            try (AdamW optimizer = new AdamW(model.parameters(), 1e-3, 0.01)) {
                Supplier<Tensor> step = () -> {
                    Tensor loss = Losses.crossEntropy(model.forward(images), targets);
                    step(loss, optimizer);
                    return loss.detach();
                };
                new DeviceSteps(device, clock, step).ask(sink, "cnn_step", "images/s", sizes.images());
            }
        }
        Memory.trim(device);
    }

    private static UnaryOperator<Tensor> halved() {
        return x -> Pooling.maxPool2d(x, 2, 2, 0);
    }

    private static void step(Tensor loss, AdamW optimizer) {
        Autograd.backward(loss);
        optimizer.step();
        optimizer.zeroGrad();
    }
}
