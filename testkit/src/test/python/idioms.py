# SPDX-License-Identifier: Apache-2.0
"""Writes idioms.txt: the values of the left side of docs/pytorch-idioms.md. Run with PyTorch 2.13: python idioms.py PAGE

A line is the code, a tab, and its value: numbers of each tensor after its sizes, tensors apart by semicolons; or a word; or a dash
where there is none to compare, which is said on stderr if it is so because of an error. A statement has the value of x after it."""

import re
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PLAIN = (bool, int, float)


def tensor(t):
    return "%s = %s" % (",".join(map(str, t.shape)) or "-", " ".join("%.9g" % v for v in t.detach().double().flatten().tolist()))


def value(r):
    if isinstance(r, torch.Tensor):
        return tensor(r)
    if isinstance(r, torch.Size):
        return tensor(torch.tensor(list(r)))
    if isinstance(r, PLAIN):
        return tensor(torch.tensor(r))
    if isinstance(r, (torch.dtype, torch.device)):
        return str(r).replace("torch.", "")
    if isinstance(r, list) and r and isinstance(r[0], list):
        return tensor(torch.tensor(r))
    if isinstance(r, tuple) and r and all(isinstance(e, torch.Tensor) for e in r):
        return " ; ".join(map(tensor, r))
    return "-"


def run(code, variables):
    scope = {"torch": torch, "F": F, "nn": nn, "DataLoader": DataLoader, "TensorDataset": TensorDataset}
    torch.manual_seed(0)
    for name, definition in variables:
        scope[name] = eval(definition, scope)
    try:
        compiled = compile(code, code, "eval")
    except SyntaxError:
        exec(code, scope)
        return tensor(scope["x"])
    return value(eval(compiled, scope))


variables, lines, names = [], [], set()
for line in open(sys.argv[1]):
    cells = re.findall(r"`([^`]*)`", line) if line.startswith("| `") else []
    if len(cells) == 3:
        variables.append((cells[0], cells[1]))
    elif len(cells) == 2:
        try:
            lines.append("%s\t%s\n" % (cells[0], run(cells[0], variables)))
        except Exception as e:
            print("no value: %s: %s" % (cells[0], e), file=sys.stderr)
            lines.append("%s\t-\n" % cells[0])
with open("idioms.txt", "w") as out:
    out.writelines(lines)
