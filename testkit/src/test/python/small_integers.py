# SPDX-License-Identifier: Apache-2.0
"""Writes small_integers.txt: what PyTorch makes of integers of 8 and 16 bits, at and around the ends of their range. Run with
PyTorch 2.13: python small_integers.py

Lines, all numbers whole:
  values <dtype> = the operands of that dtype
  <op> <dtype> [<dtype of the second operand>] = <dtype of the result> its elements; of two operands all pairs, row by row
  promote <dtype> = the dtype that it makes with each dtype of the line `dtypes`
  scalars <dtype> = the dtype that a tensor of it makes with an integer, with a floating number; a 0-d one with a tensor of
    each dtype"""

import torch

DTYPES = [
    ("bool", torch.bool), ("u8", torch.uint8), ("i8", torch.int8), ("i16", torch.int16), ("i32", torch.int32),
    ("i64", torch.int64), ("f16", torch.float16), ("bf16", torch.bfloat16), ("f32", torch.float32), ("f64", torch.float64),
]
NAMES = {dtype: name for name, dtype in DTYPES}
TYPES = dict(DTYPES)
VALUES = {
    "i8": [-128, -127, -100, -16, -3, -1, 0, 1, 2, 7, 8, 9, 100, 127],
    "u8": [0, 1, 2, 3, 7, 8, 9, 100, 127, 128, 129, 200, 254, 255],
    "i16": [-32768, -32767, -300, -129, -128, -3, -1, 0, 1, 2, 9, 15, 16, 17, 128, 255, 300, 32767],
}
FLOATS = [0.0, -0.5, 2.9, -2.9, 127.5, 128, 200, 255, 256, 300, -129, -1e4, 65535.5, 7e4, 2147480000.0, -2147480000.0]
WIDE = [0, -1, 127, 128, 255, 256, -129, 32768, -32769, 65535, 1 << 30, -(1 << 31)]

BINARY = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "minimum": torch.minimum, "maximum": torch.maximum,
    "bit_and": torch.bitwise_and, "bit_or": torch.bitwise_or, "bit_xor": torch.bitwise_xor,
    "shift_left": torch.bitwise_left_shift, "shift_right": torch.bitwise_right_shift, "pow": torch.pow,
    "eq": torch.eq, "lt": torch.lt, "ge": torch.ge,
}
# PyTorch refuses to divide integers by 0.
DIVIDING = {"floor_divide": torch.floor_divide, "remainder": torch.remainder, "fmod": torch.fmod}
UNARY = {
    "neg": torch.neg, "abs": torch.abs, "sign": torch.sign, "square": torch.square, "bit_not": torch.bitwise_not,
    "relu": torch.relu, "logical_not": torch.logical_not,
    "sum": torch.sum, "prod": lambda x: torch.prod(x[1:4]), "amin": torch.amin, "amax": torch.amax,
    "argmin": torch.argmin, "argmax": torch.argmax, "any": lambda x: torch.any(x).bool(), "all": lambda x: torch.all(x).bool(),  # of uint8 they are uint8 there
    "cumsum": lambda x: torch.cumsum(x, 0),
    "sort": lambda x: torch.sort(x.flip(0)).values, "sort_descending": lambda x: torch.sort(x, descending=True).indices,
    "topk": lambda x: torch.topk(x, 5).values, "nonzero": torch.nonzero,
    "index_add": lambda x: x.index_add(0, torch.tensor([0, 0, 1, -1 + len(x)]), x[:4] - 1),
    "scatter_add": lambda x: x.scatter_add(0, torch.tensor([0, 0, 1, -1 + len(x)]), x[:4] - 1),
}


def line(out, head, t):
    t = t.flatten()
    out.write(head + " = " + NAMES[t.dtype] + " " + " ".join(str(int(v)) for v in t.tolist()) + "\n")


with open("small_integers.txt", "w") as out:
    out.write("# Made by small_integers.py with PyTorch " + torch.__version__.split("+")[0] + "\n")
    out.write("dtypes = " + " ".join(name for name, _ in DTYPES) + "\n")
    for name, dtype in DTYPES:
        out.write("promote " + name + " = " + " ".join(NAMES[torch.promote_types(dtype, d)] for _, d in DTYPES) + "\n")
    for name, dtype in DTYPES:
        one = torch.ones(2, dtype=dtype)
        cells = [torch.result_type(one, 3), torch.result_type(one, 2.5)]
        cells += [torch.result_type(torch.ones(2, dtype=d), torch.tensor(1, dtype=dtype)) for _, d in DTYPES]
        out.write("scalars " + name + " = " + " ".join(NAMES[c] for c in cells) + "\n")
    for name, values in VALUES.items():
        out.write("values " + name + " = " + " ".join(map(str, values)) + "\n")
    for a, va in VALUES.items():
        x = torch.tensor(va, dtype=TYPES[a])
        for op, f in UNARY.items():
            line(out, op + " " + a, f(x))
        for b, vb in VALUES.items():
            y = torch.tensor(vb, dtype=TYPES[b])
            for op, f in BINARY.items():
                line(out, op + " " + a + " " + b, f(x[:, None], y[None, :]))
            y = torch.where(y == 0, torch.tensor(5, dtype=y.dtype), y)
            for op, f in DIVIDING.items():
                line(out, op + " " + a + " " + b, f(x[:, None], y[None, :]))
        for b in TYPES:
            line(out, "to " + a + " " + b, x.to(TYPES[b]))
        line(out, "from_floats " + a, torch.tensor(FLOATS).to(TYPES[a]))
        line(out, "from_wide " + a, torch.tensor(WIDE).to(TYPES[a]))
