#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what PyTorch makes of cross entropy after a linear map: linear_cross_entropy.txt, which LinearCrossEntropyTest
compares with.

    python3 linear_cross_entropy.py > ../resources/dev/merapi/testkit/ops/linear_cross_entropy.txt

Values are small multiples of powers of two. A line: rows, whether there is a bias, label smoothing, reduction, which targets,
then the loss, and the gradients of x, weight and bias of Σ loss·(1, 2, 3, …), all in float64.
"""

import torch
import torch.nn.functional as F

IN, CLASSES, IGNORED = 3, 5, -100


def numbers(count, step, of):
    return [((i * step) % of - of // 2) / 4 for i in range(count)]


def tensor(step, of, *shape):
    count = 1
    for n in shape:
        count *= n
    return torch.tensor(numbers(count, step, of), dtype=torch.float64).view(shape).requires_grad_()


def targets(rows, which):
    return torch.tensor([IGNORED if which == "none" or which == "some" and r % 3 == 1 else r * 2 % CLASSES
                         for r in range(rows)], dtype=torch.int64)


def text(t):
    return [repr(v) for v in t.detach().flatten().tolist()]


for rows in (4, 300, 0):
    for bias in (False, True):
        for smoothing in (0.0, 0.25):
            for reduction in ("none", "mean", "sum"):
                for which in ("all", "some", "none"):
                    if rows == 300 and (which == "none" or not bias):
                        continue
                    if rows == 0 and (which != "all" or smoothing != 0):
                        continue
                    x, w, b = tensor(5, 9, rows, IN), tensor(7, 11, CLASSES, IN), tensor(3, 5, CLASSES)
                    loss = F.cross_entropy(F.linear(x, w, b if bias else None), targets(rows, which),
                                           ignore_index=IGNORED, label_smoothing=smoothing, reduction=reduction)
                    (loss.flatten() * torch.arange(1, loss.numel() + 1)).sum().backward()
                    values = text(loss) + (text(x.grad) if rows <= 4 else [repr(x.grad.square().sum().item())])
                    values += text(w.grad) + (text(b.grad) if bias else [])
                    if rows == 300 and reduction == "none":
                        values = values[300:]
                    print(rows, "bias" if bias else "plain", smoothing, reduction, which, *values)
