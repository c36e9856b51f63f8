# SPDX-License-Identifier: Apache-2.0
"""Asks PyTorch what dev.merapi.benchmarks.DeviceReport asks Merapi: same keys, sizes, units and clock.

    python3 pytorch_bench.py [--device cuda|cpu] [--tiny] [--rounds N] [--only REGEX] [--out FILE]

The file, a JSON object a line and each at once, is what `--peer` of the report reads; by default a new one, named after
the device. Models are written as PyTorch's users write them: fused scaled_dot_product_attention, fused AdamW, bfloat16
autocast.
"""

import argparse
import json
import re
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

WARM_UP_SECONDS, WARM_UP_CALLS, LONGEST_WARM_UP_SECONDS = 0.3, 300, 2
ROUND_SECONDS = 0.1
MOST_CALLS = 10_000
TENSORS_OF = 1 << 20
BURST = 400
HEADS, HEAD_WIDTH = 12, 64

FULL = dict(elements=1 << 28, row_length=1024, vocabulary=50304, matrices=[1024, 2048, 4096, 8192], attention=(16, 1024),
            adam=124_000_000, gpt=(12, 768, 12, 50304, 16, 1024), images=512)
MEDIUM = dict(elements=1 << 24, row_length=1024, vocabulary=50304, matrices=[256, 512, 1024], attention=(1, 256),
              adam=4_000_000, gpt=(2, 128, 4, 1024, 4, 64), images=64)
TINY = dict(elements=1 << 12, row_length=64, vocabulary=128, matrices=[32], attention=(1, 32), adam=3_000,
            gpt=(1, 32, 2, 64, 2, 16), images=4)


class Clock:
    """The median over rounds of seconds per call, synchronised at both ends of a round."""

    def __init__(self, device, rounds, once):
        self.device, self.rounds, self.once = device, 1 if once else rounds, once

    def synchronize(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def run(self, call, calls):
        self.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        self.synchronize()
        return time.perf_counter() - start

    def seconds(self, call):
        one, calls = self.run(call, 1), 1
        if not self.once:
            start, warm, passed = time.perf_counter(), 1, 0
            while passed < WARM_UP_SECONDS or warm < WARM_UP_CALLS and passed < LONGEST_WARM_UP_SECONDS:
                one, warm, passed = self.run(call, 1), warm + 1, time.perf_counter() - start
            calls = int(max(1, min(MOST_CALLS, ROUND_SECONDS / one)))
        return statistics.median(self.run(call, calls) / calls for _ in range(self.rounds))

    def host_seconds(self, call, burst):
        seconds = []
        for _ in range(2 if self.once else 200):
            self.synchronize()
            start = time.perf_counter()
            for _ in range(burst):
                call()
            seconds.append((time.perf_counter() - start) / burst)
        return statistics.median(seconds[len(seconds) // 2:])


class Block(nn.Module):
    def __init__(self, width, heads, gelu):
        super().__init__()
        self.heads, self.gelu = heads, gelu
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (p.view(b, t, self.heads, c // self.heads).transpose(1, 2)
                   for p in self.qkv(self.norm1(x)).split(c, dim=-1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, c)
        x = x + self.projection(y)
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate=self.gelu))


class Gpt(nn.Module):
    def __init__(self, layers, width, heads, vocabulary, context, gelu="none"):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads, gelu) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, 0, 0.02)

    def loss(self, tokens, targets):
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), targets.view(-1))


class Bench:
    def __init__(self, device, sizes, clock, wanted, small, file):
        self.device, self.sizes, self.clock, self.small = device, sizes, clock, small
        self.wanted, self.file = re.compile(wanted), file

    def write(self, **line):
        print(json.dumps(line, ensure_ascii=False), file=self.file, flush=True)

    def ask(self, key, unit, question):
        if key != "copy" and not self.wanted.search(key):
            return
        try:
            value = question()
            print(f"| {key} | {value:.4g} {unit} |", flush=True)
            self.write(key=key, value=float(f"{value:.5g}"), unit=unit)
        except RuntimeError as e:
            failure = str(e).splitlines()[0]
            print(f"| {key} | failed: {failure} |", flush=True)
            self.write(key=key, value=None, unit=unit, failure=failure)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def steps(self, key, unit, count, step, replay):
        """A training step as it is and, on a GPU, captured. What it takes longer than its replay, the GPU was idle."""
        known = {}

        def seconds(what, call):
            if what not in known:
                known[what] = self.clock.seconds(call())
            return known[what]

        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        self.ask(key, unit, lambda: count / seconds("eager", lambda: step))
        if cuda:
            self.ask(key + "_peak", "MiB", lambda: torch.cuda.max_memory_allocated(self.device) / 2**20)
            self.ask(key + "_graph", unit, lambda: count / seconds("replay", replay))
            self.ask(key + "_kernels", "kernels", lambda: self.kernels(step))
            self.ask(key + "_idle", "%", lambda: 100 * (1 - seconds("replay", replay) / seconds("eager", lambda: step)))

    @staticmethod
    def kernels(step):
        """Kernels, copies and fills of one step, as the profiler sees them."""
        step()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            step()
            torch.cuda.synchronize()
        return sum(1 for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA)

    def captured(self, step, reset):
        """A step as a CUDA graph, after warm-up on a stream of its own, as PyTorch's documentation asks."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                reset()
                step()
        torch.cuda.current_stream().wait_stream(stream)
        reset()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        return graph.replay

    def randn(self, *shape, dtype=torch.float32):
        return torch.randn(*shape, dtype=torch.float32, device=self.device).to(dtype)

    def bandwidth(self, key, size, call):
        with torch.no_grad():
            self.ask(key, "GB/s", lambda: size / self.clock.seconds(call) * 1e-9)

    def rate(self, key, operations, call):
        self.ask(key, "TFLOP/s", lambda: operations / self.clock.seconds(call) * 1e-12)

    def memory(self, dtype, suffix):
        n, size = self.sizes["elements"], torch.finfo(dtype).bits // 8
        x, y, z = (self.randn(n, dtype=dtype) for _ in range(3))
        if dtype == torch.float32:
            self.bandwidth("copy", 2 * size * n, lambda: y.copy_(x))
        self.bandwidth("add" + suffix, 3 * size * n, lambda: x + y)
        self.bandwidth("mul_add_relu" + suffix, 4 * size * n, lambda: torch.relu(x * y + z))
        self.bandwidth("gelu" + suffix, 2 * size * n, lambda: F.gelu(x))
        self.bandwidth("sum" + suffix, size * n, lambda: x.sum())

    def by_rows(self, dtype, suffix):
        n, width, vocabulary = self.sizes["elements"], self.sizes["row_length"], self.sizes["vocabulary"]
        size = torch.finfo(dtype).bits // 8
        x, weight, bias = (self.randn(*shape, dtype=dtype) for shape in ((n // width, width), (width,), (width,)))
        self.bandwidth("softmax" + suffix, 2 * size * n, lambda: torch.softmax(x, 1))
        self.bandwidth("layer_norm" + suffix, 2 * size * n, lambda: F.layer_norm(x, (width,), weight, bias, 1e-5))
        del x
        rows = max(1, n // vocabulary)
        logits = self.randn(rows, vocabulary, dtype=dtype)
        targets = torch.randint(0, vocabulary, (rows,), device=self.device)
        self.bandwidth("cross_entropy" + suffix, size * rows * vocabulary, lambda: F.cross_entropy(logits, targets))

    def bandwidths(self):
        for dtype, suffix in ((torch.float32, ""), (torch.bfloat16, "_bf16")):
            for part in (self.memory, self.by_rows):
                part(dtype, suffix)
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()

    def products(self):
        for n in self.sizes["matrices"]:
            a, b = self.randn(n, n), self.randn(n, n)
            torch.backends.cuda.matmul.allow_tf32 = False
            self.rate(f"matmul_f32_{n}", 2 * n**3, lambda: a @ b)
            if self.device.type == "cuda":
                torch.backends.cuda.matmul.allow_tf32 = True
                self.rate(f"matmul_tf32_{n}", 2 * n**3, lambda: a @ b)
                torch.backends.cuda.matmul.allow_tf32 = False
            c, d = a.bfloat16(), b.bfloat16()
            self.rate(f"matmul_bf16_{n}", 2 * n**3, lambda: c @ d)

    def attention(self):
        b, t = self.sizes["attention"]
        product = 2.0 * b * HEADS * t * t * HEAD_WIDTH / 2
        shape = (b, HEADS, t, HEAD_WIDTH)
        q, k, v = (self.randn(*shape, dtype=torch.bfloat16) for _ in range(3))
        with torch.no_grad():
            self.rate("attention_forward_bf16", 2 * product,
                      lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True))
        for x in (q, k, v):
            x.requires_grad_(True)
        gradient = self.randn(*shape, dtype=torch.bfloat16)
        self.rate("attention_forward_backward_bf16", 7 * product, lambda: torch.autograd.grad(
            F.scaled_dot_product_attention(q, k, v, is_causal=True), (q, k, v), gradient))

    def adamw(self, parameters, lr, decay, **more):
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=decay, fused=True, **more)

    def optimizer(self):
        left, parameters = self.sizes["adam"], []
        while left > 0:
            p = nn.Parameter(self.randn(min(left, TENSORS_OF)))
            p.grad = torch.ones_like(p)
            parameters.append(p)
            left -= TENSORS_OF
        self.bandwidth("adamw_124m", 7 * 4 * self.sizes["adam"], self.adamw(parameters, 1e-4, 0.1).step)

    def host(self):
        x, y = self.randn(8), self.randn(8)
        with torch.no_grad():
            self.ask("host_add_8", "µs",
                     lambda: 1e6 * self.clock.host_seconds(lambda: x + y, 4 if self.small else BURST))

    def gpt(self):
        layers, width, heads, vocabulary, batch, context = self.sizes["gpt"]
        torch.backends.cuda.matmul.allow_tf32 = True
        model = Gpt(layers, width, heads, vocabulary, context).to(self.device)
        optimizer = self.adamw(model.parameters(), 3e-4, 0.1)
        tokens, targets = (torch.randint(0, vocabulary, (batch, context), device=self.device) for _ in range(2))

        def step(lower):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=lower):
                loss = model.loss(tokens, targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        def replay():
            capturable = self.adamw(model.parameters(), 3e-4, 0.1, capturable=True)

            def captured():
                with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
                    loss = model.loss(tokens, targets)
                loss.backward()
                capturable.step()

            return self.captured(captured, lambda: capturable.zero_grad(set_to_none=True))

        self.steps("gpt2_step_bf16", "tokens/s", batch * context, lambda: step(True), replay)
        if self.device.type == "cuda":
            self.ask("gpt2_step_bf16_compiled", "tokens/s", lambda: batch * context / self.clock.seconds(
                self.compiled(model, optimizer, tokens, targets)))
        else:
            self.ask("gpt2_step_f32", "tokens/s", lambda: batch * context / self.clock.seconds(lambda: step(False)))

    def gpt_params(self):
        """The same with parameters in bfloat16 and float32 masters, which PyTorch's users keep themselves."""
        layers, width, heads, vocabulary, batch, context = self.sizes["gpt"]
        model = Gpt(layers, width, heads, vocabulary, context, gelu="tanh").to(self.device)
        masters = [p.detach().clone().requires_grad_() for p in model.parameters()]
        model.to(torch.bfloat16)
        parameters = list(model.parameters())
        for m in masters:
            m.grad = torch.empty_like(m)
        tokens, targets = (torch.randint(0, vocabulary, (batch, context), device=self.device) for _ in range(2))

        def reset():
            model.zero_grad(set_to_none=True)

        def step(optimizer):
            model.loss(tokens, targets).backward()
            torch._foreach_copy_([m.grad for m in masters], [p.grad for p in parameters])
            optimizer.step()
            with torch.no_grad():
                torch._foreach_copy_(parameters, masters)

        optimizer = self.adamw(masters, 3e-4, 0.1)

        def eager():
            step(optimizer)
            reset()

        def replay():
            capturable = self.adamw(masters, 3e-4, 0.1, capturable=True)
            return self.captured(lambda: step(capturable), reset)

        self.steps("gpt2_step_bf16_params", "tokens/s", batch * context, eager, replay)

    def compiled(self, model, optimizer, tokens, targets):
        loss_of = torch.compile(model.loss)

        def step():
            with torch.autocast("cuda", torch.bfloat16):
                loss = loss_of(tokens, targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return step

    def cnn(self):
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        images = self.sizes["images"]
        model = nn.Sequential(
            nn.Conv2d(1, 32, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, 1, 1), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10)).to(self.device)
        optimizer = self.adamw(model.parameters(), 1e-3, 0.01)
        x = self.randn(images, 1, 28, 28)
        targets = torch.randint(0, 10, (images,), device=self.device)

        def step():
            F.cross_entropy(model(x), targets).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        def replay():
            capturable = self.adamw(model.parameters(), 1e-3, 0.01, capturable=True)

            def captured():
                F.cross_entropy(model(x), targets).backward()
                capturable.step()

            return self.captured(captured, lambda: capturable.zero_grad(set_to_none=True))

        self.steps("cnn_step", "images/s", images, step, replay)

    def all(self):
        """What matters most comes first: time on a device may end early."""
        for part in (self.gpt, self.gpt_params, self.products, self.attention, self.optimizer, self.host,
                     self.bandwidths, self.cnn):
            part()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()


def fresh(name):
    """A file that was not there before."""
    slug, i = re.sub("[^a-z0-9]+", "-", name.lower())[:80].strip("-"), 1
    while True:
        try:
            return open(f"pytorch-{slug}{'' if i == 1 else f'-{i}'}.jsonl", "x", encoding="utf-8")
        except FileExistsError:
            i += 1


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument("--tiny", action="store_true")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--only", default="")
    arguments.add_argument("--out")
    given = arguments.parse_args()
    device = torch.device(given.device)
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)
        torch.cuda.set_device(device)
    sizes = dict(TINY if given.tiny else FULL if device.type == "cuda" else MEDIUM)
    if device.type == "cuda" and not given.tiny:
        while sizes["elements"] * 20 > 0.75 * torch.cuda.get_device_properties(device).total_memory:
            sizes["elements"] //= 2
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    print(f"PyTorch {torch.__version__}, {name}", flush=True)
    with open(given.out, "a", encoding="utf-8") if given.out else fresh(name) as file:
        bench = Bench(device, sizes, Clock(device, given.rounds, given.tiny), given.only, given.tiny, file)
        for fact, value in (("torch", torch.__version__), ("cuda", str(torch.version.cuda)), ("device", name)):
            bench.write(fact=fact, value=value)
        bench.all()


if __name__ == "__main__":
    main()
