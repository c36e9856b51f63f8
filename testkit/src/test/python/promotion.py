# SPDX-License-Identifier: Apache-2.0
"""Writes promotion.txt: what PyTorch makes of operands of all dtypes. Run with PyTorch 2.13: python promotion.py

A line is: op, which operands have rank 0 (a mask), the dtypes of all operands but the last; then for each dtype of the last
operand the dtype and the value of the result, or "-" where PyTorch refuses. Operands with dimensions have two elements."""

import torch

DTYPES = [
    ("f32", torch.float32), ("f64", torch.float64), ("f16", torch.float16), ("bf16", torch.bfloat16),
    ("i32", torch.int32), ("i64", torch.int64), ("u8", torch.uint8), ("bool", torch.bool),
    ("i8", torch.int8), ("i16", torch.int16),
]
NAMES = {dtype: name for name, dtype in DTYPES}

# Products leave uint8 and what float16 holds; 0.1 differs between floating dtypes; divisors of remainders are exact in all.
OPS = {
    "addcmul": (lambda x, y, z: torch.addcmul(x, y, z, value=3), [0.1, 200, 190]),
    "addcdiv": (lambda x, y, z: torch.addcdiv(x, y, z, value=3), [0.1, 200, 7]),
    "clamp_tensor": (torch.clamp, [5, 0.1, 200.3]),
    "where": (lambda y, z: torch.where(torch.tensor([True, False]), y, z), [0.1, 200.3]),
    "add_scaled": (lambda x, y: torch.add(x, y, alpha=3), [0.1, 200.3]),
    "pow": (torch.pow, [1.1, 3]),
    "div": (torch.div, [1, 3]),
    "atan2": (torch.atan2, [1, 3]),
    "remainder": (torch.remainder, [200, 3.25]),
    "fmod": (torch.fmod, [200, 3.25]),
    "floor_divide": (torch.floor_divide, [200, 3.25]),
    "maximum": (torch.maximum, [0.1, 200.3]),
    "copysign": (torch.copysign, [0.1, 200.3]),
    "mul": (torch.mul, [0.1, 200.3]),
    "sub": (torch.sub, [0.1, 200.3]),
    "add_scalar_2.5": (lambda x: torch.add(x, 2.5), [0.1]),
    "mul_scalar_3": (lambda x: torch.mul(x, 3), [200.3]),
    "rdiv_scalar_1": (lambda x: 1 / x, [3]),
    "pow_scalar_2.5": (lambda x: torch.pow(x, 2.5), [3]),
    "clamp_min_0.5": (lambda x: torch.clamp(x, min=0.5), [0.1]),
    "leaky_relu_0.1": (lambda x: torch.nn.functional.leaky_relu(x, 0.1), [-3]),
}


def operand(value, dtype, rank0):
    if dtype == torch.bool:
        value = value != 0
    elif not dtype.is_floating_point:
        value = int(value)
        info = torch.iinfo(dtype)
        value = (value - info.min) % 2 ** info.bits + info.min
    return torch.tensor(value if rank0 else [value] * 2, dtype=dtype)


def result(f, values, dtypes, mask):
    try:
        r = f(*[operand(v, d, mask >> k & 1) for k, (v, d) in enumerate(zip(values, dtypes))])
    except (RuntimeError, TypeError):
        return "-"
    value = r.flatten()[-1].item()
    return NAMES[r.dtype] + ":" + repr(float(value))


def combinations(n):
    return [[]] if n == 0 else [c + [d] for c in combinations(n - 1) for _, d in DTYPES]


with open("promotion.txt", "w") as out:
    out.write("# Made by promotion.py with PyTorch " + torch.__version__.split("+")[0] + "\n")
    for name, (f, values) in OPS.items():
        n = len(values)
        for mask in [0, 1, 2, 4, 6] if n == 3 else range(2**n):
            # Of three operands all dtypes have dimensions, and a sample has rank 0.
            every = 1 if n < 3 or mask == 0 else 7
            for first in combinations(n - 1)[mask::every]:
                cells = [result(f, values, first + [d], mask) for _, d in DTYPES]
                out.write(" ".join([name, str(mask)] + [NAMES[d] for d in first] + ["="] + cells) + "\n")
