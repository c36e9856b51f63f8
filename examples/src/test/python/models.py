#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints what PyTorch gives for the two models of ModelsTest, whose constants these numbers are.

Element i of the k-th value of a state, in the order of names, is s = sin(0.7 i + k), made to what it is: 1 + s² / 2 for variances
and weights of norms, 0.1 s for other vectors, s √(2 / fan in) for the rest.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


def fill(module, transposed=False):
    state = module.state_dict()
    for k, name in enumerate(sorted(n for n, t in state.items() if t.is_floating_point())):
        t = state[name]
        s = torch.sin(0.7 * torch.arange(t.numel(), dtype=torch.float64) + k).view(t.shape)
        if t.dim() == 1:
            positive = name.endswith(("running_var", "weight"))
            t.copy_(1 + s * s / 2 if positive else 0.1 * s)
        else:
            t.copy_(s * math.sqrt(2 / (t.numel() / t.shape[0])))
    return module


class Residual(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o)) if stride > 1 else None

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    def __init__(self, w, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, w, 7, 2, 3, bias=False), nn.BatchNorm2d(w)
        for s in range(4):
            i, o = w << max(0, s - 1), w << s
            setattr(self, f"layer{s + 1}", nn.Sequential(Residual(i, o, 2 if s else 1), Residual(o, o, 1)))
        self.fc = nn.Linear(8 * w, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.fc(self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3)))


class Conv1D(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(i, o)), nn.Parameter(torch.zeros(o))

    def forward(self, x):
        return x @ self.weight + self.bias


class Part(nn.Module):
    def __init__(self, n, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(n), nn.LayerNorm(n)
        self.attn, self.mlp = nn.Module(), nn.Module()
        self.attn.c_attn, self.attn.c_proj = Conv1D(n, 3 * n), Conv1D(n, n)
        self.mlp.c_fc, self.mlp.c_proj = Conv1D(n, 4 * n), Conv1D(4 * n, n)

    def forward(self, x):
        b, t, n = x.shape
        q, k, v = (p.view(b, t, self.heads, n // self.heads).transpose(1, 2) for p in self.attn.c_attn(self.ln_1(x)).split(n, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, n)
        x = x + self.attn.c_proj(y)
        return x + self.mlp.c_proj(F.gelu(self.mlp.c_fc(self.ln_2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self, vocabulary, context, layers, n, heads):
        super().__init__()
        self.transformer = nn.Module()
        self.transformer.wte, self.transformer.wpe = nn.Embedding(vocabulary, n), nn.Embedding(context, n)
        self.transformer.h = nn.ModuleList(Part(n, heads) for _ in range(layers))
        self.transformer.ln_f = nn.LayerNorm(n)

    def forward(self, ids):
        t = self.transformer
        x = t.wte(ids) + t.wpe(torch.arange(ids.shape[1]))
        for part in t.h:
            x = part(x)
        return t.ln_f(x) @ t.wte.weight.T


def show(name, y):
    print(name, ", ".join(f"{v:.6f}" for v in y.flatten().tolist()))


with torch.no_grad():
    torch.set_default_dtype(torch.float64)
    images = torch.sin(torch.arange(2 * 3 * 32 * 32) * 0.37).view(2, 3, 32, 32)
    net = fill(ResNet18(4, 3))
    show("ResNet-18, evaluation:", net.eval()(images))
    show("ResNet-18, training:", net.train()(images))
    show("ResNet-18, evaluation after that:", net.eval()(images))
    gpt = fill(Gpt2(11, 6, 2, 8, 2))
    show("GPT-2, last position:", gpt(torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]]))[:, -1])
