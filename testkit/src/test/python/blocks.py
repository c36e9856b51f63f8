#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what PyTorch's modules give: blocks.safetensors.gz, which GoldenBlocksTest compares with.

    python3 blocks.py ../resources/dev/merapi/testkit/nn/blocks.safetensors.gz

All in float64. Of each case: the state before (`case|state|name`), the inputs (`case|in|i`), the outputs (`case|out|i`), the
gradients of inputs and parameters (`case|grad|i`, `case|grad|name`) of the sum of each output times (1, 2, 3, ...)/its size, and
what buffers are after that (`case|after|name`). A case that ends with `eval` ran in evaluation mode.
"""

import gzip
import json
import struct
import sys
import warnings

import torch
from torch import nn

warnings.simplefilter("ignore")
torch.manual_seed(20)
ALL = {}


def numbers(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def positive(*shape):
    return torch.rand(*shape, dtype=torch.float64) + 0.3


def keep(name, t):
    ALL[name] = t.detach().contiguous().clone()


def case(name, module, *inputs, call=None, modes=("train",)):
    module = module.double()
    for n, p in module.named_parameters():
        p.data.copy_(numbers(*p.shape) * 0.4)
    for n, b in module.named_buffers():
        if b.is_floating_point():
            b.copy_(positive(*b.shape) if n.endswith(("running_var", "weight")) else numbers(*b.shape))
    for mode in modes:
        which = name if mode == "train" else name + " eval"
        module.train(mode == "train")
        for n, t in module.state_dict().items():
            keep(f"{which}|state|{n}", t)
        given = [x.clone().requires_grad_() if x.is_floating_point() else x for x in inputs]
        for i, x in enumerate(given):
            keep(f"{which}|in|{i}", x.to(torch.uint8) if x.dtype == torch.bool else x)
        out = call(module, *given) if call else module(*given)
        out = list(out) if isinstance(out, (tuple, list)) else [out]
        loss = 0
        for i, y in enumerate(out):
            keep(f"{which}|out|{i}", y)
            loss = loss + (y * torch.arange(1, y.numel() + 1, dtype=torch.float64).view(y.shape) / max(1, y.numel())).sum()
        module.zero_grad()
        loss.backward()
        for i, x in enumerate(given):
            if x.grad is not None:
                keep(f"{which}|grad|{i}", x.grad)
        for n, p in module.named_parameters():
            keep(f"{which}|grad|{n}", p.grad)
        for n, b in module.named_buffers():
            keep(f"{which}|after|{n}", b)


BOTH = ("train", "eval")

# ---- norms
case("BatchNorm1d", nn.BatchNorm1d(3), numbers(4, 3), modes=BOTH)
case("BatchNorm1d lines", nn.BatchNorm1d(2, eps=1e-3, momentum=0.3), numbers(2, 2, 3), modes=BOTH)
case("BatchNorm2d", nn.BatchNorm2d(2), numbers(2, 2, 2, 3), modes=BOTH)
case("BatchNorm2d cumulative", nn.BatchNorm2d(2, momentum=None), numbers(2, 2, 2, 2), call=lambda m, x: (m(x), m(x * 2))[1], modes=BOTH)
case("BatchNorm2d bare", nn.BatchNorm2d(2, affine=False), numbers(2, 2, 2, 2), modes=BOTH)
case("BatchNorm2d untracked", nn.BatchNorm2d(2, track_running_stats=False), numbers(2, 2, 2, 2), modes=BOTH)
case("BatchNorm3d", nn.BatchNorm3d(2), numbers(2, 2, 2, 1, 2), modes=BOTH)
case("InstanceNorm1d", nn.InstanceNorm1d(2), numbers(2, 2, 4), modes=BOTH)
case("InstanceNorm2d", nn.InstanceNorm2d(2, affine=True, track_running_stats=True), numbers(2, 2, 2, 3), modes=BOTH)
case("InstanceNorm3d", nn.InstanceNorm3d(2, affine=True), numbers(1, 2, 2, 2, 2), modes=BOTH)
case("GroupNorm", nn.GroupNorm(2, 4), numbers(2, 4, 3))
case("GroupNorm bare", nn.GroupNorm(2, 4, affine=False, eps=1e-3), numbers(2, 4, 3))
case("LayerNorm", nn.LayerNorm(4), numbers(2, 3, 4))
case("LayerNorm two", nn.LayerNorm((2, 3), eps=1e-3, bias=False), numbers(2, 2, 3))
case("LayerNorm bare", nn.LayerNorm(4, elementwise_affine=False), numbers(3, 4))
case("RMSNorm", nn.RMSNorm(4), numbers(2, 3, 4))
case("RMSNorm eps", nn.RMSNorm((2, 2), eps=0.1, elementwise_affine=False), numbers(3, 2, 2))
case("LocalResponseNorm", nn.LocalResponseNorm(3, 0.1, 0.75, 2.0), numbers(2, 5, 3))

# ---- convolutions
case("Conv1d", nn.Conv1d(2, 3, 3), numbers(2, 2, 5))
case("Conv1d all", nn.Conv1d(2, 4, 2, stride=2, padding=1, dilation=2, groups=2, bias=False), numbers(1, 2, 7))
case("Conv1d same reflect", nn.Conv1d(2, 2, 4, padding="same", padding_mode="reflect"), numbers(1, 2, 6))
case("Conv2d", nn.Conv2d(2, 3, 2, padding=1), numbers(2, 2, 3, 3))
case("Conv2d all", nn.Conv2d(2, 4, (1, 3), stride=(2, 1), padding=(0, 2), dilation=(1, 2), groups=2, bias=False), numbers(1, 2, 4, 5))
case("Conv2d same", nn.Conv2d(1, 2, (2, 3), padding="same", dilation=(1, 2)), numbers(1, 1, 3, 5))
case("Conv2d circular", nn.Conv2d(1, 2, 3, padding=(1, 2), padding_mode="circular"), numbers(1, 1, 3, 4))
case("Conv2d replicate", nn.Conv2d(1, 1, 2, stride=2, padding=1, padding_mode="replicate"), numbers(1, 1, 4, 4))
case("Conv3d", nn.Conv3d(2, 2, (2, 1, 2), stride=(1, 2, 1), padding=(1, 0, 0)), numbers(1, 2, 2, 3, 3))
case("ConvTranspose1d", nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1, output_padding=1), numbers(2, 2, 3))
case("ConvTranspose2d", nn.ConvTranspose2d(2, 4, (2, 3), stride=(2, 1), padding=(1, 0), groups=2, dilation=(1, 2), bias=False), numbers(1, 2, 2, 3))
case("ConvTranspose3d", nn.ConvTranspose3d(2, 1, 2, stride=(1, 2, 1), padding=(0, 1, 0), output_padding=(0, 1, 0)), numbers(1, 2, 2, 2, 2))

# ---- pools
case("MaxPool1d", nn.MaxPool1d(2), numbers(1, 2, 5))
case("MaxPool2d", nn.MaxPool2d((2, 3), stride=(2, 1), padding=(1, 0), dilation=(1, 2), ceil_mode=True), numbers(1, 1, 4, 6))
case("MaxPool3d", nn.MaxPool3d(2, stride=1), numbers(1, 1, 2, 3, 3))
case("AvgPool1d", nn.AvgPool1d(3, 2, 1, True, False), numbers(1, 2, 6))
case("AvgPool2d", nn.AvgPool2d(2), numbers(1, 2, 4, 5))
case("AvgPool3d", nn.AvgPool3d((1, 2, 2), (1, 1, 2)), numbers(1, 1, 2, 3, 4))
case("LPPool1d", nn.LPPool1d(2.0, 2), positive(1, 2, 5))
case("LPPool2d", nn.LPPool2d(3.0, (1, 2), (2, 1)), positive(1, 1, 3, 4))
case("AdaptiveAvgPool1d", nn.AdaptiveAvgPool1d(3), numbers(1, 2, 7))
case("AdaptiveAvgPool2d", nn.AdaptiveAvgPool2d((2, 3)), numbers(1, 1, 4, 5))
case("AdaptiveAvgPool3d", nn.AdaptiveAvgPool3d(1), numbers(1, 2, 2, 2, 2))
case("AdaptiveMaxPool1d", nn.AdaptiveMaxPool1d(2), numbers(1, 2, 5))
case("AdaptiveMaxPool2d", nn.AdaptiveMaxPool2d((2, 3)), numbers(1, 1, 4, 5))
case("AdaptiveMaxPool3d", nn.AdaptiveMaxPool3d((1, 2, 2)), numbers(1, 1, 2, 3, 3))

# ---- tables and products
INDICES = torch.tensor([[0, 2, 1], [2, 2, 0]])
case("Linear", nn.Linear(3, 2), numbers(2, 3))
case("Linear without bias", nn.Linear(3, 2, bias=False), numbers(2, 2, 3))
case("Bilinear", nn.Bilinear(2, 3, 2), numbers(4, 2), numbers(4, 3))
case("Embedding", nn.Embedding(3, 2), INDICES)
case("Embedding padding", nn.Embedding(3, 2, padding_idx=2), INDICES)
case("EmbeddingBag", nn.EmbeddingBag(3, 2), INDICES)
case("EmbeddingBag sum", nn.EmbeddingBag(3, 2, mode="sum"), INDICES.flatten(), torch.tensor([0, 2, 2, 5]))
case("EmbeddingBag max", nn.EmbeddingBag(3, 2, mode="max"), INDICES)

# ---- recurrent
case("LSTM", nn.LSTM(2, 3, num_layers=2, bidirectional=True), numbers(3, 2, 2), call=lambda m, x: m(x)[0])
case("GRU", nn.GRU(2, 3, batch_first=True), numbers(2, 3, 2), call=lambda m, x: m(x)[0])
case("RNN", nn.RNN(2, 3, bias=False), numbers(3, 1, 2), call=lambda m, x: m(x)[0])

# ---- attention
def attend(mask=None):
    return lambda m, *x: m(x[0], x[-1], x[-1], need_weights=False, attn_mask=mask)[0]


CAUSAL = nn.Transformer.generate_square_subsequent_mask(3, dtype=torch.float64)
case("MultiheadAttention", nn.MultiheadAttention(4, 2, batch_first=True), numbers(2, 3, 4), call=attend())
case("MultiheadAttention causal", nn.MultiheadAttention(4, 2, batch_first=True, bias=False), numbers(2, 3, 4), call=attend(CAUSAL))
case("MultiheadAttention cross", nn.MultiheadAttention(4, 2, batch_first=True), numbers(2, 3, 4), numbers(2, 5, 4), call=attend())
case(
    "MultiheadAttention keys",
    nn.MultiheadAttention(4, 2, batch_first=True),
    numbers(2, 3, 4),
    torch.tensor([[True, True, False], [True, False, True]]),
    call=lambda m, x, seen: m(x, x, x, need_weights=False, key_padding_mask=~seen)[0],
)
case("MultiheadAttention added", nn.MultiheadAttention(4, 2, batch_first=True), numbers(1, 3, 4), numbers(3, 3), call=lambda m, x, a: m(x, x, x, need_weights=False, attn_mask=a)[0])

# ---- transformers
T = dict(dim_feedforward=5, dropout=0.0, batch_first=True)
case("TransformerEncoderLayer", nn.TransformerEncoderLayer(4, 2, **T), numbers(2, 3, 4), modes=BOTH)
case("TransformerEncoderLayer first", nn.TransformerEncoderLayer(4, 2, norm_first=True, activation="gelu", layer_norm_eps=1e-3, **T), numbers(2, 3, 4))
case("TransformerEncoderLayer causal", nn.TransformerEncoderLayer(4, 2, bias=False, **T), numbers(2, 3, 4), call=lambda m, x: m(x, CAUSAL))
case("TransformerDecoderLayer", nn.TransformerDecoderLayer(4, 2, **T), numbers(2, 3, 4), numbers(2, 2, 4))
case("TransformerDecoderLayer first", nn.TransformerDecoderLayer(4, 2, norm_first=True, **T), numbers(2, 3, 4), numbers(2, 2, 4), call=lambda m, x, y: m(x, y, CAUSAL))
case("TransformerEncoder", nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, **T), 2, nn.LayerNorm(4)), numbers(1, 3, 4))
case("TransformerDecoder", nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, **T), 2), numbers(1, 3, 4), numbers(1, 2, 4))

# ---- shapes
case("Identity", nn.Identity(), numbers(2))
case("Flatten", nn.Flatten(), numbers(2, 2, 2))
case("Unflatten", nn.Unflatten(1, (2, 2)), numbers(1, 4))
case("PixelShuffle", nn.PixelShuffle(2), numbers(1, 4, 2, 1))
case("PixelUnshuffle", nn.PixelUnshuffle(2), numbers(1, 1, 2, 4))
case("ChannelShuffle", nn.ChannelShuffle(2), numbers(1, 4, 2))
case("Upsample", nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), numbers(1, 1, 2, 3))
case("Upsample size", nn.Upsample(size=(3, 4)), numbers(1, 1, 2, 3))
case("ReflectionPad1d", nn.ReflectionPad1d((2, 1)), numbers(1, 2, 3))
case("ZeroPad2d", nn.ZeroPad2d((1, 0, 2, 1)), numbers(1, 1, 2, 2))
case("Sequential", nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)), numbers(2, 1, 3, 3), modes=BOTH)

# ---- activations
for name, module in {
    "ReLU": nn.ReLU(), "ReLU6": nn.ReLU6(), "LeakyReLU": nn.LeakyReLU(0.1), "ELU": nn.ELU(0.7), "SELU": nn.SELU(), "CELU": nn.CELU(0.5),
    "GELU": nn.GELU(), "GELU tanh": nn.GELU("tanh"), "SiLU": nn.SiLU(), "Mish": nn.Mish(), "Sigmoid": nn.Sigmoid(), "LogSigmoid": nn.LogSigmoid(),
    "Tanh": nn.Tanh(), "Hardtanh": nn.Hardtanh(-0.5, 0.7), "Hardsigmoid": nn.Hardsigmoid(), "Hardswish": nn.Hardswish(),
    "Softplus": nn.Softplus(2.0, 1.5), "Softsign": nn.Softsign(), "Threshold": nn.Threshold(0.3, -1.0), "Hardshrink": nn.Hardshrink(0.6),
    "Softshrink": nn.Softshrink(0.6), "Tanhshrink": nn.Tanhshrink(), "GLU": nn.GLU(1), "Softmax": nn.Softmax(1), "Softmin": nn.Softmin(1),
    "LogSoftmax": nn.LogSoftmax(0), "PReLU": nn.PReLU(), "PReLU channels": nn.PReLU(4),
}.items():
    case(name, module, numbers(3, 4) * 2)

# ---- losses
X, Y, P, Q = numbers(3, 4), numbers(3, 4), positive(3, 4) / 2, positive(3, 4) / 2
CLASSES, SIGNS = torch.tensor([1, 3, 0]), torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
MANY = torch.where(X > 0, 1.0, -1.0).double()
W = positive(4)
case("CrossEntropyLoss", nn.CrossEntropyLoss(), X, CLASSES)
case("CrossEntropyLoss all", nn.CrossEntropyLoss(weight=W, ignore_index=3, label_smoothing=0.1, reduction="sum"), X, CLASSES)
case("CrossEntropyLoss probabilities", nn.CrossEntropyLoss(weight=W), X, Y.softmax(1).detach(), call=lambda m, x, y: m(x, y.detach()))
case("NLLLoss", nn.NLLLoss(weight=W, reduction="none"), X.log_softmax(1), CLASSES)
case("MSELoss", nn.MSELoss(), X, Y)
case("L1Loss", nn.L1Loss(reduction="sum"), X, Y)
case("SmoothL1Loss", nn.SmoothL1Loss(beta=0.7), X, Y)
case("HuberLoss", nn.HuberLoss(delta=0.7), X, Y)
case("BCELoss", nn.BCELoss(weight=W), P, Q, call=lambda m, x, y: m(x, y.detach()))
case("BCEWithLogitsLoss", nn.BCEWithLogitsLoss(pos_weight=W), X, Q, call=lambda m, x, y: m(x, y.detach()))
case("KLDivLoss", nn.KLDivLoss(reduction="batchmean"), X.log_softmax(1), Y.softmax(1), call=lambda m, x, y: m(x, y.detach()))
case("PoissonNLLLoss", nn.PoissonNLLLoss(full=True), X, P * 5, call=lambda m, x, y: m(x, y.detach()))
case("GaussianNLLLoss", nn.GaussianNLLLoss(full=True, reduction="none"), X, Y, P)
case("CosineEmbeddingLoss", nn.CosineEmbeddingLoss(margin=0.1), X, Y, SIGNS, call=lambda m, x, y, t: m(x, y, t.detach()))
case("TripletMarginLoss", nn.TripletMarginLoss(margin=0.8, swap=True), X, Y, P)
case("HingeEmbeddingLoss", nn.HingeEmbeddingLoss(margin=1.5), X, MANY, call=lambda m, x, t: m(x, t.detach()))
case("MarginRankingLoss", nn.MarginRankingLoss(margin=0.2, reduction="none"), X, Y, MANY, call=lambda m, x, y, t: m(x, y, t.detach()))
case("SoftMarginLoss", nn.SoftMarginLoss(), X, MANY, call=lambda m, x, t: m(x, t.detach()))
case("MultiMarginLoss", nn.MultiMarginLoss(p=2, margin=0.8, weight=W), X, CLASSES)
case("MultiLabelMarginLoss", nn.MultiLabelMarginLoss(), X, torch.tensor([[1, 3, -1, 0], [0, -1, 1, 2], [3, 2, 1, 0]]))
case("MultiLabelSoftMarginLoss", nn.MultiLabelSoftMarginLoss(weight=W), X, (Q > 0.4).double(), call=lambda m, x, t: m(x, t.detach()))
# its gradient is that of what went into the softmax
case("CTCLoss", nn.CTCLoss(), numbers(5, 2, 4), torch.tensor([[1, 2], [3, 0]]), torch.tensor([5, 4]), torch.tensor([2, 1]), call=lambda m, x, *y: m(x.log_softmax(2), *y))

NAMES = {torch.float64: "F64", torch.int64: "I64", torch.uint8: "U8"}
header, data = {}, b""
for name, t in sorted(ALL.items(), key=lambda e: e[1].dtype == torch.uint8):
    raw = t.numpy().tobytes()
    header[name] = {"dtype": NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
text = json.dumps(header, separators=(",", ":"), sort_keys=True).encode()
text += b" " * (-len(text) % 8)
packed = gzip.compress(struct.pack("<Q", len(text)) + text + data, 9, mtime=0)
with open(sys.argv[1], "wb") as f:
    f.write(packed)
print(len({n.split("|")[0] for n in ALL}), "cases,", len(ALL), "tensors,", len(packed), "bytes")
