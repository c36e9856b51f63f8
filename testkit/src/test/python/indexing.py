# SPDX-License-Identifier: Apache-2.0
"""Writes indexing.txt: what PyTorch makes of indexing, searching and products of tensors. Run with PyTorch 2.13: python indexing.py

A line is: name; shapes of the inputs; results (shape:values, by |); gradients of sum(result * numbers); gradients of the sum of
their squares, both of each input. Input k has the numbers of step k + 1. IndexingGoldenTest has the same calls in Java."""

import math

import torch


def numbers(step, shape):
    n = math.prod(shape)
    return torch.tensor([((i * 37 + step * 11) % 101 - 50) / 8 for i in range(n)], dtype=torch.float64).reshape(shape)


def ints(*values):
    return torch.tensor(values)


IDS = ints(2, 0, -1, 2)
GRID = torch.tensor([[0, -1], [1, 1]])
EACH = torch.tensor([[0, 2, 2, -1], [1, 1, 0, 2]]) % 3
MASK = torch.tensor([[True, False, True, True], [False, False, True, False], [True, True, False, False]])
ZEROS = torch.tensor([0.0, 2, 3, 0, 5, 0], dtype=torch.float64)
S = slice


def put(x, where, values, accumulate=False):
    y = x.clone()
    if accumulate:
        y.index_put_(where, values, accumulate=True)
    else:
        y[where] = values
    return y


def scatter_reduce(how, self):
    return lambda x, s: x.scatter_reduce(1, EACH, s, how, include_self=self)


CASES = {
    "index_ids": ([(3, 4)], lambda x: x[IDS]),
    "index_all_ids": ([(2, 3, 4)], lambda x: x[:, IDS]),
    "index_two": ([(3, 4, 2)], lambda x: x[GRID, ints(3, 0)]),
    "index_apart": ([(3, 4, 2)], lambda x: x[IDS, :, ints(1, 0, 1, 1)]),
    "index_apart_middle": ([(2, 3, 2, 2)], lambda x: x[:, ints(0, 2), :, ints(1, 0)]),
    "index_number_apart": ([(3, 4, 3)], lambda x: x[1, :, IDS]),
    "index_new_axis_between": ([(3, 4, 2)], lambda x: x[IDS, None, ints(1, 0, 1, 1)]),
    "index_slices": ([(4, 5)], lambda x: x[1:-1, ::2]),
    "index_ellipsis": ([(2, 3, 4)], lambda x: x[..., -3:, None]),
    "index_number": ([(3, 4)], lambda x: x[-1]),
    "index_0d": ([(3, 4)], lambda x: x[torch.tensor(1), 1:]),
    "index_mask": ([(3, 4)], lambda x: x[MASK]),
    "index_mask_rows": ([(3, 4, 2)], lambda x: x[MASK, 1:]),
    "index_mask_and_ids": ([(4, 3)], lambda x: x[MASK[0], IDS[:3]]),
    "index_mix": ([(2, 4, 3, 5)], lambda x: x[1, 1:3, IDS, None, ..., 2:]),
    "index_step_end": ([(7,)], lambda x: x[-6:6:3]),
    "put_ids": ([(3, 4), (2, 4)], lambda x, v: put(x, ints(2, 0), v)),
    "put_two": ([(3, 4), (3,)], lambda x, v: put(x, (ints(0, 1, -1), ints(3, 0, 2)), v)),
    "put_slices": ([(4, 5), (2, 3)], lambda x, v: put(x, (S(1, 3), S(None, None, 2)), v)),
    "put_mask": ([(3, 4), ()], lambda x, v: put(x, MASK, v)),
    "put_apart": ([(3, 4, 3), (2, 4)], lambda x, v: put(x, (ints(0, 2), S(None), ints(1, 0)), v)),
    "put_add": ([(3, 4), (4, 4)], lambda x, v: put(x, (IDS,), v, True)),
    "put_add_two": ([(3, 4), (4,)], lambda x, v: put(x, (IDS, ints(1, 1, 0, 1)), v, True)),
    "scatter_small": ([(3, 4), (2, 2)], lambda x, s: x.scatter(0, torch.tensor([[0, 2], [1, 0]]), s)),
    "scatter_add_small": ([(3, 4), (2, 2)], lambda x, s: x.scatter_add(0, torch.tensor([[0, 2], [0, 0]]), s)),
    "scatter_reduce_sum": ([(2, 3), (2, 4)], scatter_reduce("sum", False)),
    "scatter_reduce_prod": ([(2, 3), (2, 4)], scatter_reduce("prod", True)),
    "scatter_reduce_prod_others": ([(2, 3), (2, 4)], scatter_reduce("prod", False)),
    "scatter_reduce_prod_zero": (
        [(3,), (6,)],
        lambda x, s: x.scatter_reduce(0, ints(0, 0, 1, 1, 1, 2), s * ints(1, 0, 1, 1, 0, 1), "prod"),
    ),
    "scatter_reduce_mean": ([(2, 3), (2, 4)], scatter_reduce("mean", True)),
    "scatter_reduce_mean_others": ([(2, 3), (2, 4)], scatter_reduce("mean", False)),
    "scatter_reduce_amax": ([(2, 3), (2, 4)], scatter_reduce("amax", True)),
    "scatter_reduce_amin_others": ([(2, 3), (2, 4)], scatter_reduce("amin", False)),
    "index_copy": ([(3, 4), (3, 2)], lambda x, s: x.index_copy(1, ints(3, 0), s)),
    "index_fill": ([(3, 4)], lambda x: x.index_fill(1, ints(3, 0), 2.5)),
    "index_reduce_prod": ([(3, 2), (4, 2)], lambda x, s: x.index_reduce(0, IDS % 3, s, "prod")),
    "index_reduce_amax": ([(3, 2), (4, 2)], lambda x, s: x.index_reduce(0, IDS % 3, s, "amax", include_self=False)),
    "take": ([(3, 4)], lambda x: x.take(torch.tensor([[0, -1], [7, 7]]))),
    "take_along_dim": ([(3, 4)], lambda x: torch.take_along_dim(x, torch.tensor([[1, 0, 3]]), 1)),
    "masked_scatter": ([(3, 4), (7,)], lambda x, s: x.masked_scatter(MASK, s)),
    "masked_fill_tensor": ([(3, 4), ()], lambda x, v: x.masked_fill(MASK, v)),
    "repeat_interleave": ([(2, 3)], lambda x: x.repeat_interleave(2, 1)),
    "repeat_interleave_each": ([(3, 2)], lambda x: x.repeat_interleave(ints(2, 0, 3), 0)),
    "kthvalue": ([(3, 5)], lambda x: x.kthvalue(2, 1)),
    "median": ([(3, 4)], lambda x: x.median(1)),
    "median_keep": ([(4, 3)], lambda x: x.median(0, True)),
    "median_all": ([(3, 4)], lambda x: x.median()),
    "nanmedian": ([(5,)], lambda x: torch.cat([x, torch.tensor([math.nan])]).nanmedian(0)),
    "msort": ([(4, 3)], lambda x: x.msort()),
    "unfold": ([(2, 7)], lambda x: x.unfold(1, 3, 2)),
    "as_strided": ([(12,)], lambda x: x.as_strided((3, 3), (2, 3), 1)),
    "diag": ([(3,)], lambda x: x.diag(1)),
    "diag_of": ([(3, 4)], lambda x: x.diag(-1)),
    "diag_embed": ([(2, 3)], lambda x: torch.diag_embed(x, -1, 0, 2)),
    "diagonal_scatter": ([(3, 4), (3,)], lambda x, s: x.diagonal_scatter(s, 1)),
    "select_scatter": ([(3, 4), (3,)], lambda x, s: x.select_scatter(s, 1, -1)),
    "slice_scatter": ([(3, 4), (3, 2)], lambda x, s: x.slice_scatter(s, 1, 0, 4, 2)),
    "rot90": ([(2, 3)], lambda x: x.rot90(1, (0, 1))),
    "rot90_back": ([(2, 3, 2)], lambda x: x.rot90(-1, (0, 2))),
    "tile": ([(2, 3)], lambda x: x.tile((2,))),
    "roll": ([(3, 4)], lambda x: x.roll((1, -1), (0, 1))),
    "movedim": ([(2, 3, 4)], lambda x: x.movedim((0, 2), (-1, 0))),
    "hstack": ([(2, 1), (2, 2)], lambda x, y: torch.hstack([x, y])),
    "vstack": ([(3,), (2, 3)], lambda x, y: torch.vstack([x, y])),
    "dstack": ([(3,), (3,)], lambda x, y: torch.dstack([x, y])),
    "meshgrid": ([(2,), (3,)], lambda x, y: torch.meshgrid(x, y, indexing="ij")),
    "dot": ([(4,), (4,)], lambda x, y: x.dot(y)),
    "outer": ([(2,), (3,)], lambda x, y: x.outer(y)),
    "inner": ([(2, 3), (4, 3)], lambda x, y: x.inner(y)),
    "kron": ([(2, 2), (3,)], lambda x, y: x.kron(y)),
    "addmm": ([(3,), (2, 4), (4, 3)], lambda x, a, b: torch.addmm(x, a, b, beta=0.5, alpha=-2)),
    "addmv": ([(2,), (2, 4), (4,)], lambda x, a, v: torch.addmv(x, a, v, beta=2, alpha=3)),
    "baddbmm": ([(2, 1, 3), (2, 2, 4), (2, 4, 3)], lambda x, a, b: torch.baddbmm(x, a, b)),
    "tensordot": ([(2, 3, 4), (3, 4, 2)], lambda x, y: torch.tensordot(x, y, 2)),
    "tensordot_dims": ([(2, 3, 4), (4, 2)], lambda x, y: torch.tensordot(x, y, ([0, 2], [1, 0]))),
    "einsum_matmul": ([(2, 3, 4), (2, 4, 2)], lambda x, y: torch.einsum("bik,bkj->bij", x, y)),
    "einsum_implicit": ([(2, 3), (3, 4)], lambda x, y: torch.einsum("kb,ba", x, y)),
    "einsum_trace": ([(3, 3)], lambda x: torch.einsum("ii", x)),
    "einsum_diagonal": ([(3, 2, 3)], lambda x: torch.einsum("iji->ij", x)),
    "einsum_sum": ([(2, 3)], lambda x: torch.einsum("ij->j", x)),
    "einsum_transpose": ([(2, 3, 4)], lambda x: torch.einsum("b...->...b", x)),
    "einsum_ellipsis": ([(2, 1, 3, 4), (5, 4, 2)], lambda x, y: torch.einsum("...ik,...kj->...ij", x, y)),
    "einsum_ellipsis_implicit": ([(2, 3), (2, 3)], lambda x, y: torch.einsum("...i,...i", x, y)),
    "einsum_scalar": ([(3,), ()], lambda x, y: torch.einsum("i,->i", x, y)),
    "einsum_outer": ([(2,), (3,)], lambda x, y: torch.einsum("i,j->ji", x, y)),
    "einsum_dot": ([(4,), (4,)], lambda x, y: torch.einsum("i,i->", x, y)),
    "einsum_three": ([(2, 3), (3, 4), (4, 2)], lambda x, y, z: torch.einsum("ij,jk,kl->il", x, y, z)),
    "einsum_four": ([(2, 3), (3,), (2, 4), (4, 2)], lambda a, b, c, d: torch.einsum("ij, j, ik, kA -> A", a, b, c, d)),
    "einsum_hadamard": ([(2, 3), (2, 3), (3,)], lambda x, y, z: torch.einsum("ij,ij,j->i", x, y, z)),
    "einsum_broadcast": ([(1, 3), (2, 3)], lambda x, y: torch.einsum("ij,ij->i", x, y)),
}

# Of numbers that have no gradient, or whose result depends on them in steps.
PLAIN = {
    "unique": ([(2, 3)], lambda x: torch.unique(x.round().remainder(3), return_inverse=True, return_counts=True)),
    "mode": ([(3, 4)], lambda x: x.round().remainder(3).mode(1).values),
    "unique_dim": ([(1,)], lambda x: torch.unique(ROWS, dim=0, return_inverse=True, return_counts=True)),
    "unique_dim_1": ([(1,)], lambda x: torch.unique(ROWS, dim=1, return_inverse=True, return_counts=True)),
    "unique_consecutive": ([(1,)], lambda x: torch.unique_consecutive(RUNS, return_inverse=True, return_counts=True)),
    "unique_consecutive_dim": ([(1,)], lambda x: torch.unique_consecutive(ROWS, dim=0, return_inverse=True, return_counts=True)),
    "bincount": ([(1,)], lambda x: torch.bincount(RUNS, minlength=6)),
    "bincount_weights": ([(7,)], lambda x: torch.bincount(RUNS, x)),
    "histc": ([(20,)], lambda x: x.histc(5, -4, 4)),
    "histc_range": ([(20,)], lambda x: x.histc(4)),
    "searchsorted": ([(5,), (2, 3)], lambda x, v: torch.searchsorted(x.sort().values, v)),
    "searchsorted_rows": ([(2, 5), (2, 3)], lambda x, v: torch.searchsorted(x.sort(1).values, v, right=True)),
    "searchsorted_equal": ([(1,)], lambda x: (torch.searchsorted(STEPS, STEPS), torch.searchsorted(STEPS, STEPS, right=True))),
    "bucketize": ([(2, 3)], lambda x: torch.bucketize(x, ints(-2, 0, 3))),
    "isin": ([(1,)], lambda x: torch.isin(ROWS, ints(1, 3))),
    "nonzero": ([(1,)], lambda x: torch.argwhere(ROWS)),
    "tril_indices": ([(1,)], lambda x: torch.tril_indices(3, 4, 1)),
    "triu_indices": ([(1,)], lambda x: torch.triu_indices(4, 3, -1)),
    "scatter_reduce_int_mean": ([(1,)], lambda x: ints(-7, 5).scatter_reduce(0, ints(0, 1, 0), ints(2, -6, 4), "mean")),
    "scatter_reduce_zeros": ([(3,)], lambda x: x.scatter_reduce(0, ints(0, 0, 1, 1, 1, 1), ZEROS, "prod")),
}
ROWS = torch.tensor([[1, 2, 1], [0, 3, 0], [1, 2, 1], [1, 1, 1], [1, 1, 1]])
RUNS = ints(1, 1, 3, 3, 3, 0, 1)
STEPS = ints(0, 1, 1, 1, 4)


def text(t):
    return " ".join(repr(v) for v in t.detach().to(torch.float64).flatten().tolist())


def line(name, shapes, f, differentiated):
    x = [numbers(k + 1, s).requires_grad_(differentiated) for k, s in enumerate(shapes)]
    results = f(*x)
    results = [results] if isinstance(results, torch.Tensor) else list(results)
    fields = [name, ",".join("x".join(map(str, s)) for s in shapes)]
    fields.append("|".join("x".join(map(str, r.shape)) + ":" + text(r) for r in results))
    if differentiated:
        loss = sum((r * numbers(9, r.shape)).sum() for r in results if r.is_floating_point())
        zero = lambda gs: [torch.zeros_like(t) if g is None else g for g, t in zip(gs, x)]
        first = zero(torch.autograd.grad(loss, x, create_graph=True, allow_unused=True))
        squares = sum((g * g).sum() for g in first)
        second = zero(torch.autograd.grad(squares, x, allow_unused=True)) if squares.requires_grad else zero([None] * len(x))
        fields += ["|".join(map(text, first)), "|".join(map(text, second))]
    return ";".join(fields)


if __name__ == "__main__":
    assert torch.__version__.startswith("2.13"), torch.__version__
    with open("indexing.txt", "w") as out:
        for table, differentiated in ((CASES, True), (PLAIN, False)):
            for name, (shapes, f) in table.items():
                out.write(line(name, shapes, f, differentiated) + "\n")
