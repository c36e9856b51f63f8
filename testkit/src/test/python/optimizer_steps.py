#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what PyTorch's optimisers make of 20 steps: optimizer_steps.txt, which OptimizerStepsTest compares with.

    python3 optimizer_steps.py > ../resources/dev/merapi/testkit/optim/optimizer_steps.txt

Values and gradients are small multiples of powers of two, so that they are exact in every dtype. A line: name, dtype, which
parameter, step, values. For 16 bits PyTorch steps float32 masters with the rounded gradients, and the line is the master's.
"""

import torch

LATE = 7  # the first step at which the second parameter has a gradient, in the runs that say so
SIZES = [7, 4]


def start(which, dtype):
    return torch.tensor([((i * 5 + which) % 9 - 4) / 4 for i in range(SIZES[which])], dtype=dtype)


def gradient(which, t, dtype):
    values = [((i * 7 + t * 13 + which) % 11 - 5) / 8 * 2.0 ** (4 * (i % 3) - 4) for i in range(SIZES[which])]
    return torch.tensor(values, dtype=dtype)


def sgd(**options):
    return lambda params: torch.optim.SGD(params, lr=0.1, foreach=False, **options)


def adam(kind, **options):
    return lambda params: kind(params, lr=0.1, foreach=False, **options)


class Lion(torch.optim.Optimizer):
    """As in arXiv 2302.06675; PyTorch has none."""

    def __init__(self, params, lr, betas=(0.9, 0.99), weight_decay=0.0, foreach=False):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
            for p in group["params"]:
                if p.grad is not None:
                    m = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                    p.mul_(1 - lr * decay).sub_((m * beta1 + p.grad * (1 - beta1)).sign(), alpha=lr)
                    m.mul_(beta2).add_(p.grad, alpha=1 - beta2)


def muon(**options):
    """PyTorch's, but that the products of its iterations are in the parameter's dtype and not in bfloat16."""

    def bare(grad, coefficients, steps, eps):
        a, b, c = coefficients
        x = grad.T if grad.size(0) > grad.size(1) else grad
        x = x / x.norm().clamp(min=eps)
        for _ in range(steps):
            gram = x @ x.T
            x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
        return x.T if grad.size(0) > grad.size(1) else x

    torch.optim._muon._zeropower_via_newtonschulz = bare
    return lambda params: torch.optim.Muon(params, lr=0.1, **options)


RUNS = {
    "sgd": sgd(),
    "sgd decay": sgd(weight_decay=0.03),
    "sgd momentum": sgd(momentum=0.9),
    "sgd dampening": sgd(momentum=0.9, dampening=0.3, weight_decay=0.03),
    "sgd nesterov": sgd(momentum=0.8, nesterov=True, weight_decay=0.03),
    "adam": adam(torch.optim.Adam),
    "adam decay": adam(torch.optim.Adam, weight_decay=0.3),
    "adamw": adam(torch.optim.AdamW, weight_decay=0.1),
    "adamw betas": adam(torch.optim.AdamW, betas=(0.8, 0.95), eps=1e-3, weight_decay=0),
    "sgd maximize": sgd(momentum=0.9, weight_decay=0.03, maximize=True),
    "adam amsgrad": adam(torch.optim.Adam, betas=(0.9, 0.7), weight_decay=0.3, amsgrad=True),
    "adamw amsgrad": adam(torch.optim.AdamW, betas=(0.8, 0.9), weight_decay=0.1, amsgrad=True),
    "adagrad": adam(torch.optim.Adagrad),
    "adagrad decays": adam(torch.optim.Adagrad, lr_decay=0.2, weight_decay=0.1, initial_accumulator_value=0.5, eps=1e-3),
    "rmsprop": adam(torch.optim.RMSprop),
    "rmsprop centered": adam(torch.optim.RMSprop, alpha=0.8, eps=0.25, weight_decay=0.1, centered=True),
    "rmsprop momentum": adam(torch.optim.RMSprop, alpha=0.9, momentum=0.7),
    "rmsprop both": adam(torch.optim.RMSprop, alpha=0.9, eps=0.25, weight_decay=0.05, momentum=0.5, centered=True),
    "lion": adam(Lion),
    "lion decay": adam(Lion, betas=(0.95, 0.7), weight_decay=0.3),
    "muon": muon(),
    "muon plain": muon(momentum=0.7, nesterov=False, weight_decay=0.3, ns_steps=3, adjust_lr_fn="match_rms_adamw"),
}


def run(name, dtype, late, clip):
    wide = dtype if dtype in (torch.float32, torch.float64) else torch.float32
    shape = (lambda t, w: t.reshape(-1, w + 1) if name.startswith("muon") else t)  # [7, 1] and [2, 2]
    params = [torch.nn.Parameter(shape(start(w, wide), w)) for w in range(2)]
    optimizer = RUNS[name](params)
    for t in range(1, 21):
        for w, p in enumerate(params):
            p.grad = None if late and w == 1 and t < LATE else shape(gradient(w, t, dtype).to(wide), w)
        if clip:
            torch.nn.utils.clip_grad_norm_(params, 1.5)
        optimizer.step()
        if t in (1, LATE, 20):
            for w, p in enumerate(params):
                label = name + (" late" if late else "") + (" clip" if clip else "")
                print(label.replace(" ", "_"), str(dtype)[6:], w, t, *(repr(v) for v in p.detach().double().flatten().tolist()))


torch.set_num_threads(1)
print("# By optimizer_steps.py with PyTorch " + torch.__version__)
for name in RUNS:
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        run(name, dtype, False, False)
for name in ("sgd dampening", "adam", "adamw", "adam amsgrad", "adagrad decays", "rmsprop both"):
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        run(name, dtype, True, False)
        if dtype != torch.bfloat16:
            run(name, dtype, False, True)
