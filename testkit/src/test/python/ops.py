# SPDX-License-Identifier: Apache-2.0
"""Writes ops.txt: what PyTorch makes of ops, their gradients and second derivatives. Run with PyTorch 2.13: python ops.py

A case is a line `case <name>`, and after it, each with a shape and numbers:
  in <sizes> <scale> <offset>: an operand; element i of operand k is offset + scale * sin(1.7 * (i + 1) + 0.9 * k)
  out <sizes> = the elements of a result
  grad <k> = the gradient of operand k, where element i of each result has the gradient cos(0.3 * i)
  grad2 <k> = the gradient by operand k of the sum of all elements of all those gradients, of which element i counts cos(0.7 * i)
A shape of no sizes is written as a dash."""

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
CASES = {}


def case(name, f, *operands):
    """An operand is its shape, or a triple of shape, scale and offset."""
    CASES[name] = (f, [o if isinstance(o[0] if o else 0, tuple) else (o, 2.0, 0.0) for o in operands])


def unary(name, f, scale=2.0, offset=0.0):
    case(name, f, ((2, 3), scale, offset))


# ---- pointwise
unary("frac", torch.frac)
unary("deg2rad", torch.deg2rad)
unary("rad2deg", torch.rad2deg)
unary("sinc", torch.sinc)
unary("logit", torch.logit, 0.4, 0.5)
unary("logit eps", lambda x: torch.logit(x, 0.2), 0.4, 0.5)
unary("sgn", torch.sgn)
unary("floor", torch.floor)
unary("ceil", torch.ceil)
unary("round", torch.round)
unary("trunc", torch.trunc)
unary("round decimals", lambda x: torch.round(x, decimals=2))
unary("round tens", lambda x: torch.round(x, decimals=-1), 50)
unary("nan_to_num", lambda x: torch.nan_to_num(x / x.relu(), 0.5, 2.0, -3.0))
unary("relu6", F.relu6, 8.0)
unary("hardtanh", lambda x: F.hardtanh(x, -0.5, 1.0))
unary("selu", F.selu)
unary("celu", lambda x: F.celu(x, 1.5))
unary("softsign", F.softsign)
unary("threshold", lambda x: F.threshold(x, 0.3, -1.0))
unary("hardshrink", lambda x: F.hardshrink(x, 0.7))
unary("softshrink", lambda x: F.softshrink(x, 0.7))
unary("tanhshrink", F.tanhshrink)
unary("softplus", lambda x: F.softplus(x, 2.0, 1.5))
unary("softmin", lambda x: F.softmin(x, 1))
case("glu", lambda x: F.glu(x, 1), (2, 4))
case("prelu", F.prelu, (2, 3, 2), (3,))
case("prelu one", F.prelu, (2, 3), (1,))
case("hypot", torch.hypot, (2, 3), (3,))
case("xlogy", torch.xlogy, (2, 3), ((2, 1), 0.5, 1.0))
case("logaddexp", torch.logaddexp, (2, 3), (3,))
case("logaddexp2", torch.logaddexp2, (2, 3), (2, 1))
case("heaviside", lambda x: torch.heaviside(x.detach(), torch.tensor(0.5)), (2, 3))
case("div floor", lambda x, y: torch.div(x, y, rounding_mode="floor"), ((2, 3), 5.0, 0.0), ((3,), 0.5, 1.0))
case("div trunc", lambda x, y: torch.div(x, y, rounding_mode="trunc"), ((2, 3), 5.0, 0.0), ((3,), 0.5, 1.0))

# ---- reductions and scans
HOLES = lambda x: torch.where(x > 1.0, torch.nan, x)
PROBABILITIES = torch.tensor([0.0, 0.2, 0.5, 0.75, 1.0])
case("nansum", lambda x: torch.nansum(HOLES(x), 1), (3, 4))
case("nanmean", lambda x: torch.nanmean(HOLES(x), 1, keepdim=True), (3, 4))
case("var_mean", lambda x: torch.var_mean(x, 1, correction=0.5), (3, 4))
case("std_mean", lambda x: torch.std_mean(x, (0, 1), keepdim=True), (3, 4))
case("aminmax", lambda x: torch.aminmax(x, dim=1), (3, 4))
case("cumprod", lambda x: torch.cumprod(x, 1), (2, 4))
case("cumprod one zero", lambda x: torch.cumprod(torch.where(x > 1.9, x * 0.0, x), 1), (2, 5))
case("cumprod zeros", lambda x: torch.cumprod(x.relu(), 0), (5, 2))
case("cummax", lambda x: torch.cummax(x, 1), (2, 5))
case("cummin", lambda x: torch.cummin(x, 0), (5, 2))
case("logcumsumexp", lambda x: torch.logcumsumexp(x, 1), (2, 4))
case("quantile all", lambda x: torch.quantile(x, 0.3), (3, 4))
case("quantile keep", lambda x: torch.quantile(x, 0.6, 0, True), (4, 3))
case("quantile nan", lambda x: torch.quantile(HOLES(x), 0.6, 1), (3, 4))
for how in ["linear", "lower", "higher", "nearest", "midpoint"]:
    case("quantile " + how, lambda x, how=how: torch.quantile(x, PROBABILITIES, 1, interpolation=how), (2, 4))
    case("quantile keep " + how, lambda x, how=how: torch.quantile(x, PROBABILITIES, 0, True, interpolation=how), (4, 2))
    case("nanquantile " + how, lambda x, how=how: torch.nanquantile(HOLES(x), PROBABILITIES, 1, interpolation=how), (3, 4))

# ---- borders
case("pad reflect", lambda x: F.pad(x, (2, 1, 1, 0), "reflect"), (1, 3, 4))
case("pad replicate", lambda x: F.pad(x, (2, 1, 1, 0), "replicate"), (1, 3, 4))
case("pad circular", lambda x: F.pad(x, (2, 1, 1, 0), "circular"), (1, 3, 4))


# ---- convolution
case("conv1d", lambda x, w, b: F.conv1d(x, w, b, 2, 1, 2), (1, 2, 7), (3, 2, 2), (3,))
case("conv2d", lambda x, w: F.conv2d(x, w, None, (2, 1), (1, 0), (1, 2), 2), (1, 2, 4, 5), (4, 1, 2, 2))
case("conv3d", lambda x, w, b: F.conv3d(x, w, b, (1, 2, 1), (1, 0, 1), (2, 1, 1)), (1, 2, 3, 3, 2), (2, 2, 2, 2, 2), (2,))
case("conv3d groups", lambda x, w: F.conv3d(x, w, None, 1, 0, 1, 2), (1, 2, 2, 2, 2), (2, 1, 2, 1, 2))
case("conv1d same", lambda x, w: F.conv1d(x, w, None, 1, "same", 1), (1, 2, 5), (2, 2, 4))
case("conv2d same", lambda x, w: F.conv2d(x, w, None, 1, "same", (1, 2)), (1, 1, 3, 5), (1, 1, 2, 3))
case("conv_transpose1d", lambda x, w, b: F.conv_transpose1d(x, w, b, 3, 1, 2, 1, 1), (1, 2, 3), (2, 2, 3), (2,))
case("conv_transpose2d", lambda x, w, b: F.conv_transpose2d(x, w, b, (2, 1), (1, 0), (1, 0), 2, (1, 2)), (1, 2, 2, 3), (2, 1, 2, 2), (2,))
case("conv_transpose3d", lambda x, w, b: F.conv_transpose3d(x, w, b, (2, 1, 1), (1, 0, 1), (1, 0, 0), 1, (1, 1, 2)), (1, 2, 2, 2, 2), (2, 1, 2, 2, 2), (1,))

# ---- pooling
case("max_pool1d", lambda x: F.max_pool1d(x, 3, 2, 1, 1, True, True), (1, 2, 6))
case("max_pool2d", lambda x: F.max_pool2d(x, (2, 3), (2, 1), (1, 0), (1, 2), True, True), (1, 1, 5, 6))
case("max_pool3d", lambda x: F.max_pool3d(x, (2, 2, 1), (1, 2, 2), (1, 0, 0), 1, True, True), (1, 2, 2, 3, 3))
case("avg_pool1d", lambda x: F.avg_pool1d(x, 3, 2, 1, True, False), (1, 2, 6))
case("avg_pool2d", lambda x: F.avg_pool2d(x, (2, 3), (2, 2), (1, 1), True, True), (1, 1, 4, 6))
case("avg_pool3d", lambda x: F.avg_pool3d(x, (2, 2, 1), (1, 2, 2), (1, 0, 0), True, False), (1, 1, 2, 3, 3))
case("lp_pool2d", lambda x: F.lp_pool2d(x, 3.0, (2, 2), (1, 2), False), ((1, 1, 3, 4), 0.5, 1.0))
case("adaptive_avg_pool1d", lambda x: F.adaptive_avg_pool1d(x, 3), (1, 2, 7))
case("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, (2, 3)), (1, 1, 4, 5))
case("adaptive_avg_pool2d even", lambda x: F.adaptive_avg_pool2d(x, (2, 1)), (1, 1, 4, 5))
case("adaptive_max_pool2d", lambda x: F.adaptive_max_pool2d(x, (2, 3), True), (1, 1, 4, 5))
case("adaptive_max_pool3d", lambda x: F.adaptive_max_pool3d(x, (2, 2, 1), True), (1, 1, 3, 2, 3))
case("max_unpool2d", lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, 2, return_indices=True), 2, 2), (1, 1, 4, 4))

# ---- images
case("interpolate nearest", lambda x: F.interpolate(x, (5, 3), mode="nearest"), (1, 1, 3, 4))
case("interpolate nearest-exact", lambda x: F.interpolate(x, scale_factor=1.7, mode="nearest-exact"), (1, 2, 4))
case("interpolate linear", lambda x: F.interpolate(x, 7, mode="linear"), (1, 2, 4))
case("interpolate bilinear", lambda x: F.interpolate(x, (5, 3), mode="bilinear"), (1, 1, 3, 4))
case("interpolate bilinear corners", lambda x: F.interpolate(x, (5, 3), mode="bilinear", align_corners=True), (1, 1, 3, 4))
case("interpolate bilinear scale", lambda x: F.interpolate(x, scale_factor=(1.3, 2.0), mode="bilinear"), (1, 1, 3, 4))
case("interpolate bicubic", lambda x: F.interpolate(x, (5, 3), mode="bicubic"), (1, 1, 3, 4))
case("interpolate bicubic corners", lambda x: F.interpolate(x, (4, 6), mode="bicubic", align_corners=True), (1, 1, 3, 4))
case("interpolate trilinear", lambda x: F.interpolate(x, (3, 2, 4), mode="trilinear"), (1, 1, 2, 3, 3))
case("interpolate area", lambda x: F.interpolate(x, (2, 3), mode="area"), (1, 1, 4, 5))
for mode in ["nearest", "bilinear", "bicubic"]:
    for padding in ["zeros", "border", "reflection"]:
        for align in [False, True]:
            case("grid_sample %s %s %s" % (mode, padding, align),
                 lambda x, g, mode=mode, padding=padding, align=align: F.grid_sample(x, g, mode, padding, align),
                 (1, 1, 3, 4), ((1, 2, 2, 2), 1.6, 0.1))
case("affine_grid", lambda t: F.affine_grid(t, (1, 1, 2, 3), False), (1, 2, 3))
case("unfold", lambda x: F.unfold(x, (2, 3), (1, 2), (1, 2), (2, 1)), (1, 2, 3, 4))
case("fold", lambda x: F.fold(x, (3, 4), (2, 2), 1, (1, 0), (1, 2)), (1, 4, 8))
case("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), (1, 4, 2, 2))
case("pixel_unshuffle", lambda x: F.pixel_unshuffle(x, 2), (1, 1, 4, 2))
case("channel_shuffle", lambda x: F.channel_shuffle(x, 2), (1, 4, 1, 2))

# ---- norms
case("group_norm", lambda x, w, b: F.group_norm(x, 2, w, b, 0.01), (2, 4, 2), (4,), (4,))
case("group_norm plain", lambda x: F.group_norm(x, 1, None, None, 0.01), (2, 2, 2))
case("instance_norm", lambda x, w, b: F.instance_norm(x, None, None, w, b, True, 0.1, 0.01), (2, 2, 3), (2,), (2,))
case("local_response_norm", lambda x: F.local_response_norm(x, 3, 0.5, 0.75, 2.0), (1, 4, 2))
case("local_response_norm even", lambda x: F.local_response_norm(x, 2, 0.5, 0.75, 2.0), (1, 3, 1, 2))
case("batch_norm 1d", lambda x, w, b: F.batch_norm(x, None, None, w, b, True, 0.1, 0.01), (4, 2), (2,), (2,))
case("batch_norm 3d", lambda x, w, b: F.batch_norm(x, None, None, w, b, True, 0.1, 0.01), (2, 2, 1, 2, 2), (2,), (2,))


# ---- writing
def operand(k, shape, scale, offset):
    i = torch.arange(1, 1 + torch.Size(shape).numel(), dtype=torch.float64)
    return (offset + scale * torch.sin(1.7 * i + 0.9 * k)).reshape(shape).requires_grad_(True)


def weights(t, rate):
    return torch.cos(rate * torch.arange(t.numel(), dtype=torch.float64)).reshape(t.shape)


def sizes(t):
    return ",".join(map(str, t)) or "-"


def numbers(t):
    return " ".join("%.12g" % v for v in (t.detach() + torch.zeros(t.shape)).flatten().tolist())


def gradients(total, operands, again):
    found = torch.autograd.grad(total, operands, create_graph=again, allow_unused=True)
    return [torch.zeros_like(o) if g is None else g for o, g in zip(operands, found)]


def write(out, name, f, forms):
    out.write("case " + name + "\n")
    operands = []
    for k, (shape, scale, offset) in enumerate(forms):
        out.write("in %s %s %s\n" % (sizes(shape), scale, offset))
        operands.append(operand(k, shape, scale, offset))
    results = f(*operands)
    results = [results] if isinstance(results, torch.Tensor) else list(results)
    for r in results:
        out.write("out %s = %s\n" % (sizes(r.shape), numbers(r)))
    roots = [r for r in results if r.requires_grad]
    if not roots:
        return
    found = gradients(sum((r * weights(r, 0.3)).sum() for r in roots), operands, True)
    for k, g in enumerate(found):
        out.write("grad %d = %s\n" % (k, numbers(g)))
    total = sum((g * weights(g, 0.7)).sum() for g in found)
    if total.requires_grad:
        for k, g in enumerate(gradients(total, operands, False)):
            out.write("grad2 %d = %s\n" % (k, numbers(g)))


with open("ops.txt", "w") as out:
    out.write("# Made by ops.py with PyTorch " + torch.__version__.split("+")[0] + "\n")
    for name, (f, forms) in CASES.items():
        write(out, name, f, forms)
