#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes PyTorch's learning rates over 24 steps, and what its LBFGS does: schedules.txt, which SchedulesTest compares with.

    python3 schedules.py > ../resources/dev/merapi/testkit/optim/schedules.txt

A line: name, values. Rates are those of the steps 0, 1, …; those of LBFGS loss before each step and the parameters after the
last, of Rosenbrock's function and of a fit.
"""

import torch
from torch.optim import lr_scheduler as lr

STEPS = 24


def optimizer(rate=0.5):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate, momentum=0.9)


SCHEDULES = {
    "step": lambda o: lr.StepLR(o, 5, 0.3),
    "multi_step": lambda o: lr.MultiStepLR(o, [3, 7, 7, 20], 0.5),
    "exponential": lambda o: lr.ExponentialLR(o, 0.9),
    "linear": lambda o: lr.LinearLR(o, 0.25, 0.75, 10),
    "polynomial": lambda o: lr.PolynomialLR(o, 20, 2.5),
    "cosine": lambda o: lr.CosineAnnealingLR(o, STEPS, 0.01),
    "cosine_restarts": lambda o: lr.CosineAnnealingWarmRestarts(o, 4, 2, 0.01),
    "cosine_restarts_equal": lambda o: lr.CosineAnnealingWarmRestarts(o, 5, 1, 0),
    "one_cycle": lambda o: lr.OneCycleLR(o, 2.0, total_steps=STEPS),
    "one_cycle_half": lambda o: lr.OneCycleLR(o, 2.0, total_steps=STEPS, pct_start=0.5, div_factor=4, final_div_factor=8),
    "sequential": lambda o: lr.SequentialLR(
        o, [lr.LinearLR(o, 0.1, 1.0, 5), lr.ExponentialLR(o, 0.9), lr.ConstantLR(o, 1.0, 1)], [5, 15]
    ),
}


def show(name, values):
    print(name, *(repr(float(v)) for v in values))


torch.set_num_threads(1)
print("# By schedules.py with PyTorch " + torch.__version__)
for name, make in SCHEDULES.items():
    o = optimizer()
    schedule = make(o)
    rates, momenta = [], []
    for _ in range(STEPS):
        rates.append(o.param_groups[0]["lr"])
        momenta.append(o.param_groups[0]["momentum"])
        o.step()
        if len(rates) < STEPS:
            schedule.step()
    show(name, rates)
    if name == "one_cycle":
        show("one_cycle_momentum", momenta)

METRICS = [5, 4, 4, 3.9999, 4.2, float("nan"), 3, 3, 3, 3, 3, 3, 2.9, 2.9, 2.9, 2.9, 2.9, 1, 2, 2, 2, 2, 2, 2]
for name, options in {
    "plateau": dict(patience=2, factor=0.5),
    "plateau_larger": dict(mode="max", patience=1, factor=0.1, threshold=0.05, threshold_mode="abs", cooldown=3, min_lr=0.01),
}.items():
    o = optimizer()
    schedule = lr.ReduceLROnPlateau(o, **options)
    rates = []
    for m in METRICS:
        schedule.step(m)
        rates.append(o.param_groups[0]["lr"])
    show(name, rates)


def rosenbrock(p):
    return ((1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2).sum() + (p[2] - 3) ** 4


def fit(p):
    x = torch.linspace(-1, 1, 9, dtype=p.dtype)
    return ((torch.tanh(p[0] * x + p[1]) * p[2] - torch.sin(2 * x)) ** 2).mean()


for dtype in (torch.float64, torch.float32):
    for loss_name, loss, start, steps in (("rosenbrock", rosenbrock, [-1.0, 1.5, 0.5], 4), ("fit", fit, [0.5, -0.25, 0.75], 3)):
        for search in ("strong_wolfe", None):
            p = torch.nn.Parameter(torch.tensor(start, dtype=dtype))
            rate = 1.0 if search else 0.001 if loss_name == "rosenbrock" else 0.1
            o = torch.optim.LBFGS([p], lr=rate, max_iter=5, history_size=3, line_search_fn=search)
            values = []

            def closure():
                o.zero_grad()
                value = loss(p)
                value.backward()
                return value

            for _ in range(steps):
                values.append(o.step(closure).item())
            show("_".join(["lbfgs", loss_name, str(search), str(dtype)[6:]]), values + p.detach().tolist())
