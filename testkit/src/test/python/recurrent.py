#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what PyTorch's recurrent layers give: recurrent.txt, which RnnTest compares with.

    python3 recurrent.py > ../resources/dev/merapi/testkit/nn/recurrent.txt

Numbers are small multiples of powers of two, made as `RnnTest.t` makes them, in float64; parameter i in the order of PyTorch's
`named_parameters` is t(5 + 2 * (i % 4), 23 - 2 * (i % 5)) / 4. A line: a name, the output, h (and c), then the gradients of x and
of all parameters for the sum of output * (1, 2, 3, ...) / 64 and of the squares of h (and c).
"""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def t(step, of, *shape):
    count = 1
    for n in shape:
        count *= n
    return torch.tensor([((i * step) % of - of // 2) / 8 for i in range(count)], dtype=torch.float64).view(shape)


def show(name, layer, lengths=None):
    layer = layer.double()
    for i, (_, p) in enumerate(layer.named_parameters()):
        p.data.copy_(t(5 + 2 * (i % 4), 23 - 2 * (i % 5), *p.shape) / 4)
    x = t(7, 19, 5, 3, 2)
    if layer.batch_first:
        x = x.transpose(0, 1).contiguous()
    x.requires_grad_()
    given = x if lengths is None else pack_padded_sequence(x, torch.tensor(lengths), layer.batch_first, enforce_sorted=False)
    output, state = layer(given)
    if lengths is not None:
        output, _ = pad_packed_sequence(output, layer.batch_first, total_length=5)
    states = list(state) if isinstance(state, tuple) else [state]
    weights = torch.arange(1, output.numel() + 1, dtype=torch.float64).view(output.shape) / 64
    loss = (output * weights).sum() + sum((s * s).sum() for s in states)
    loss.backward()
    values = [output, *states, x.grad] + [p.grad for p in layer.parameters()]
    print(name, *[repr(v) for u in values for v in u.detach().flatten().tolist()])


show("tanh", nn.RNN(2, 3))
show("relu", nn.RNN(2, 3, nonlinearity="relu", num_layers=2))
show("gru", nn.GRU(2, 3, bias=False))
show("gru2", nn.GRU(2, 3, num_layers=2, bidirectional=True), [2, 5, 3])
show("lstm", nn.LSTM(2, 3, batch_first=True))
show("lstm2", nn.LSTM(2, 3, num_layers=2, bidirectional=True), [4, 1, 5])
