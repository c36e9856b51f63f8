#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes PyTorch's losses and their gradients: losses.txt, which LossValuesTest compares with.

    python3 losses.py > ../resources/dev/merapi/testkit/ops/losses.txt

Inputs are small multiples of powers of two, made as `LossValuesTest.t` makes them, in float64. A line: a name, the loss, and
then the gradients of what wants one, for a gradient of the loss of 1, 2, 3, ...
"""

import torch
import torch.nn.functional as F


def t(step, of, *shape):
    count = 1
    for n in shape:
        count *= n
    return torch.tensor([((i * step) % of - of // 2) / 8 for i in range(count)], dtype=torch.float64).view(shape)


def show(name, f, *inputs):
    leaves = [x.clone().requires_grad_() for x in inputs]
    loss = f(*leaves)
    loss.backward(torch.arange(1, loss.numel() + 1, dtype=torch.float64).view(loss.shape))
    values = [loss.detach()] + [x.grad for x in leaves]
    print(name, *[repr(v) for x in values for v in x.flatten().tolist()])


x, y = t(5, 23, 4, 3), t(7, 19, 4, 3)
signs = torch.tensor([[1., -1, 1], [-1, 1, 1], [1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
p = torch.sigmoid(x)
q = torch.softmax(y, 1)
w3 = torch.tensor([0.5, 2, 1], dtype=torch.float64)
targets = torch.tensor([2, 0, 1, 1])
for r in ("none", "mean", "sum"):
    show("bce:" + r, lambda a, b: F.binary_cross_entropy(a, b, reduction=r), p, q)
    show("bce_weighted:" + r, lambda a, b: F.binary_cross_entropy_with_logits(a, b, w3, reduction=r, pos_weight=w3 + 1), x, q)
    show("smooth_l1:" + r, lambda a, b: F.smooth_l1_loss(a, b, beta=0.7, reduction=r), x, y)
    show("kl_div:" + r, lambda a, b: F.kl_div(a, b, reduction=r), torch.log_softmax(x, 1), q)
    show("cross_entropy_of_probabilities:" + r,
         lambda a, b: F.cross_entropy(a, b, w3, label_smoothing=0.1, reduction=r), x, q)
    show("cosine_embedding:" + r, lambda a, b: F.cosine_embedding_loss(a, b, signs[:, 0], 0.2, reduction=r), x, y)
    show("triplet:" + r, lambda a, b, c: F.triplet_margin_loss(a, b, c, 1.5, reduction=r), x, y, t(3, 17, 4, 3))
    show("triplet_swap:" + r, lambda a, b, c: F.triplet_margin_loss(a, b, c, 0.5, p=1, swap=True, reduction=r), x, y,
         t(3, 17, 4, 3))
    show("hinge_embedding:" + r, lambda a: F.hinge_embedding_loss(a, signs, 1.2, reduction=r), x)
    show("margin_ranking:" + r, lambda a, b: F.margin_ranking_loss(a, b, signs, 0.3, reduction=r), x, y)
    show("soft_margin:" + r, lambda a: F.soft_margin_loss(a, signs, reduction=r), x)
    show("multi_margin:" + r, lambda a: F.multi_margin_loss(a, targets, 1, 0.9, w3, reduction=r), x)
    show("multi_margin_2:" + r, lambda a: F.multi_margin_loss(a, targets, 2, 0.9, None, reduction=r), x)
    show("multilabel_margin:" + r,
         lambda a: F.multilabel_margin_loss(a, torch.tensor([[2, 0, -1], [1, -1, 0], [-1, 1, 2], [0, 1, 2]]), reduction=r), x)
    show("multilabel_soft_margin:" + r, lambda a: F.multilabel_soft_margin_loss(a, q, w3, reduction=r), x)
    show("poisson:" + r, lambda a, b: F.poisson_nll_loss(a, b, reduction=r), x, y.abs() * 4)
    show("poisson_full:" + r, lambda a: F.poisson_nll_loss(a, y.abs() * 4, log_input=False, full=True, reduction=r), p)
    show("gaussian:" + r, lambda a, b, v: F.gaussian_nll_loss(a, b, v, full=True, reduction=r), x, y, p[:, 0])
    show("gaussian_each:" + r, lambda a, b, v: F.gaussian_nll_loss(a, b, v, eps=0.5, reduction=r), x, y, p)
    show("ctc:" + r,
         lambda a: F.ctc_loss(a.log_softmax(2), torch.tensor([[1, 2, 2], [3, 0, 0], [2, 1, 3]]), [7, 5, 6], [3, 1, 2], reduction=r),
         t(5, 23, 7, 3, 4))
    show("ctc_short:" + r,
         lambda a: F.ctc_loss(a.log_softmax(2), torch.tensor([[1, 1, 1], [3, 0, 0]]), [4, 4], [3, 0], blank=2, reduction=r,
                              zero_infinity=True), t(5, 23, 4, 2, 4))
show("kl_div_batchmean", lambda a, b: F.kl_div(a, b, reduction="batchmean"), torch.log_softmax(x, 1), q)
show("kl_div_log", lambda a, b: F.kl_div(a, b, reduction="batchmean", log_target=True), torch.log_softmax(x, 1), q.log())
show("cosine_similarity", lambda a, b: F.cosine_similarity(a, b, 1), x, y)
show("pairwise_distance", lambda a, b: F.pairwise_distance(a, b, 3, 0.01, True), x, y)
