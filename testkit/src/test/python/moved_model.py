#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes how PyTorch trains a model that becomes float64 and float32 again: moved_model.txt, for MovedModelTest.

    python3 moved_model.py > ../resources/dev/merapi/testkit/optim/moved_model.txt

Five steps in float32, seven in float64, eight in float32. PyTorch leaves the optimiser's state behind when a model moves;
loading its own state brings it to the parameters' dtype. A line: name, which parameter, step, values.
"""

import torch

SIZES = [7, 4]


def start(which):
    return torch.tensor([((i * 5 + which) % 9 - 4) / 4 for i in range(SIZES[which])])


def gradient(which, t, dtype):
    values = [((i * 7 + t * 13 + which) % 11 - 5) / 8 * 2.0 ** (4 * (i % 3) - 4) for i in range(SIZES[which])]
    return torch.tensor(values, dtype=dtype)


class Two(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(start(0))
        self.b = torch.nn.Parameter(start(1))


RUNS = {
    "sgd_momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.03, foreach=False),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1, foreach=False),
}
print("# By moved_model.py with PyTorch " + torch.__version__)
for name, make in RUNS.items():
    model = Two()
    optimizer = make(model.parameters())
    for t in range(1, 21):
        if t in (6, 13):
            model.to(torch.float64 if t == 6 else torch.float32)
            optimizer.load_state_dict(optimizer.state_dict())
        for which, p in enumerate(model.parameters()):
            p.grad = gradient(which, t, p.dtype)
        optimizer.step()
        if t in (5, 6, 12, 13, 20):
            for which, p in enumerate(model.parameters()):
                print(name, which, t, *(repr(v) for v in p.detach().double().tolist()))
