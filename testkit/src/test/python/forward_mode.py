#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what PyTorch makes of forward mode: forward_mode.txt, which ForwardModeTest compares with.

    python3 forward_mode.py > ../resources/dev/merapi/testkit/autograd/forward_mode.txt

Values are small multiples of powers of two, made as `ForwardModeTest.numbers` makes them. A line: a name, then the value and
the tangent (torch.func.jvp), or the Jacobian (torch.func.jacfwd), or the product with the Hessian, all in float64.
"""

import torch
import torch.nn.functional as F
from torch.func import grad, jacfwd, jvp


def t(step, of, *shape):
    count = 1
    for n in shape:
        count *= n
    return torch.tensor([((i * step) % of - of // 2) / 8 for i in range(count)], dtype=torch.float64).view(shape)


def show(name, *tensors):
    print(name, *[repr(v) for x in tensors for v in x.detach().flatten().tolist()])


TARGETS = torch.tensor([2, 0, 1, 3])
MLP = (t(5, 9, 4, 3), t(7, 11, 5, 3), t(3, 5, 5), t(5, 13, 4, 5), t(2, 7, 4))
MLP_TANGENTS = (t(3, 7, 4, 3), t(5, 9, 5, 3), t(2, 5, 5), t(7, 9, 4, 5), t(3, 7, 4))


def mlp(x, w1, b1, w2, b2):
    return F.cross_entropy(F.linear(F.gelu(F.linear(x, w1, b1)), w2, b2), TARGETS)


def attention(q, k, v):
    return torch.softmax(q @ k.transpose(-2, -1) / 2, -1) @ v


show("mlp", *jvp(mlp, MLP, MLP_TANGENTS))
show("layer_norm", *jvp(lambda x, w, b: F.layer_norm(x, (5,), w, b, 1e-5), (t(5, 11, 3, 5), t(3, 7, 5), t(2, 5, 5)),
                        (t(7, 9, 3, 5), t(5, 7, 5), t(3, 5, 5))))
show("attention", *jvp(attention, (t(5, 11, 2, 3, 4), t(7, 13, 2, 3, 4), t(3, 7, 2, 3, 4)),
                       (t(3, 11, 2, 3, 4), t(5, 13, 2, 3, 4), t(2, 7, 2, 3, 4))))
show("conv2d", *jvp(lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1), (t(5, 11, 2, 2, 4, 4), t(3, 7, 3, 2, 3, 3), t(2, 5, 3)),
                    (t(7, 13, 2, 2, 4, 4), t(5, 9, 3, 2, 3, 3), t(3, 5, 3))))
show("jacobian", jacfwd(lambda x: torch.softmax(x * x, -1))(t(5, 11, 2, 3)))
show("hessian", jvp(grad(lambda w: mlp(*MLP[:1], w, *MLP[2:])), MLP[1:2], MLP_TANGENTS[1:2])[1])
