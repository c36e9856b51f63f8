#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what PyTorch makes of attention with each option: attention.txt, which AttentionOptionsTest compares with.

    python3 attention.py > ../resources/dev/merapi/testkit/ops/attention.txt

Values are small multiples of powers of two, made as `AttentionOptionsTest.numbers` makes them. A line: a name, then the result
and the gradients of q, k, v and of the mask if it is added, in float64. Made with PyTorch 2.13.
"""

import torch
import torch.nn.functional as F


def t(step, of, *shape):
    count = 1
    for n in shape:
        count *= n
    return torch.tensor([((i * step) % of - of // 2) / 8 for i in range(count)], dtype=torch.float64).view(shape)


def show(name, heads, kv_heads, queries, keys, mask=None, **options):
    q, k, v = t(5, 17, 2, heads, queries, 3), t(7, 13, 2, kv_heads, keys, 3), t(3, 11, 2, kv_heads, keys, 3)
    inputs = [x.requires_grad_(True) for x in (q, k, v)]
    if mask is not None and mask.dtype != torch.bool:
        inputs.append(mask.requires_grad_(True))
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=heads != kv_heads, **options)
    gradients = torch.autograd.grad(y, inputs, t(11, 19, 2, heads, queries, 3))
    print(name, *[repr(x) for x in (y, *gradients) for x in x.detach().flatten().tolist()])


def seen(*shape):
    return t(5, 7, *shape) > -0.2


INF = float("inf")
rows = seen(4, 5)
rows[2] = False
added = t(3, 13, 1, 2, 4, 5)
added[0, 0, 1, 3] = added[0, 1, 2, :] = -INF
show("causal_more_keys", 2, 2, 3, 5, is_causal=True)
show("causal_more_queries", 2, 2, 5, 3, is_causal=True)
show("scale", 2, 2, 3, 4, scale=0.25)
show("mask_of_pairs", 2, 2, 4, 5, rows)
show("mask_of_keys", 2, 2, 4, 5, seen(2, 1, 1, 5))
show("mask_added", 2, 2, 4, 5, added)
show("mask_added_to_keys", 2, 2, 4, 5, t(5, 11, 1, 5))
show("grouped", 6, 2, 3, 4)
show("grouped_causal", 4, 2, 4, 4, is_causal=True)
show("grouped_mask_added", 4, 1, 4, 5, t(5, 11, 2, 1, 4, 5))
