// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static dev.merapi.backend.KernelTable.FLOATING;

import dev.merapi.backend.KernelTable;
import dev.merapi.ops.Attention;
import dev.merapi.ops.RandomOps;
import dev.merapi.ops.SelfAttention;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;

/** Fused attention. Operands may be strided views (of one packed projection) as long as their last dimension is dense. */
final class AttentionKernels {
    private AttentionKernels() {}

    static void register(KernelTable table) {
        table.put(
                "attention",
                Attention.Args.class,
                Attention.AttentionResult.class,
                FLOATING,
                AttentionKernels::forward);
        table.put(
                "attention_backward",
                Attention.BackwardArgs.class,
                Attention.Gradients.class,
                FLOATING,
                AttentionKernels::backward);
        table.put(
                "self_attention",
                SelfAttention.Args.class,
                SelfAttention.Attended.class,
                FLOATING,
                AttentionKernels::packedForward);
        table.put(
                "self_attention_backward",
                SelfAttention.BackwardArgs.class,
                FLOATING,
                AttentionKernels::packedBackward);
    }

    private static Tensor dense(Tensor t) {
        return t.size(3) == 1 || t.layout().stride(3) == 1 ? t : t.contiguous();
    }

    private static final int SHAPE = 17;

    /** What `shape` is in structured.def, and the strides of the tensors. */
    private static Scratch shape(Attention.Args a, Tensor... strided) {
        Tensor q = a.q();
        Tensor k = a.k();
        Scratch scratch = Scratch.begin().reserve(SHAPE + 3 * strided.length);
        scratch.put(q.size(0)).put(q.size(1)).put(q.size(2)).put(k.size(2)).put(q.size(3));
        scratch.put(k.size(1)).put(a.reach());
        Tensor mask = a.mask();
        scratch.put(mask == null ? 0 : mask.address()).put(mask == null || mask.dtype() == DType.BOOL ? 0 : 1);
        for (int i = 0; i < 4; i++) {
            scratch.put(mask == null || mask.size(i) == 1 ? 0 : mask.layout().stride(i));
        }
        scratch.put(RandomOps.threshold(a.dropout())).put(a.seed());
        scratch.put(a.dropout() == 0 ? 0 : RandomKernels.offset(a.offset(), a.base()));
        scratch.put(Double.doubleToRawLongBits(RandomOps.scale(a.dropout())));
        for (Tensor t : strided) {
            scratch.put(t.layout().stride(0))
                    .put(t.layout().stride(1))
                    .put(t.layout().stride(2));
        }
        return scratch;
    }

    static void forward(Attention.Args a, Attention.AttentionResult out) {
        Tensor q = dense(a.q());
        Tensor k = dense(a.k());
        Tensor v = dense(a.v());
        Scratch s = shape(a, q, k, v, out.out());
        Native.attention(
                DTypes.code(q.dtype()),
                s.address(0),
                s.address(SHAPE),
                a.scale(),
                a.causal() ? 1 : 0,
                q.address(),
                k.address(),
                v.address(),
                out.out().address(),
                out.lse().address());
    }

    static void backward(Attention.BackwardArgs a, Attention.Gradients out) {
        Tensor q = dense(a.q());
        Tensor k = dense(a.k());
        Tensor v = dense(a.v());
        Tensor o = dense(a.out());
        Tensor grad = dense(a.grad());
        Tensor lse = a.lse().contiguous();
        Scratch s = shape(a.forward(), q, k, v, o, grad, out.q(), out.k(), out.v());
        Native.attention_backward(
                DTypes.code(q.dtype()),
                s.address(0),
                s.address(SHAPE),
                a.scale(),
                a.causal() ? 1 : 0,
                q.address(),
                k.address(),
                v.address(),
                o.address(),
                lse.address(),
                grad.address(),
                out.q().address(),
                out.k().address(),
                out.v().address());
    }

    /** As {@link #shape}, of tensors that hold the heads of a position one after another. */
    private static Scratch packed(Tensor qkv, int heads, int... parts) {
        long positions = qkv.size(1);
        long width = qkv.size(2) / 3;
        Scratch scratch = Scratch.begin().reserve(SHAPE + 3 * parts.length);
        scratch.put(qkv.size(0)).put(heads).put(positions).put(positions).put(width / heads);
        scratch.put(heads);
        while (scratch.words() < SHAPE) {
            scratch.put(0);
        }
        for (int n : parts) {
            scratch.put(positions * n * width).put(width / heads).put(n * width);
        }
        return scratch;
    }

    static void packedForward(SelfAttention.Args a, SelfAttention.Attended out) {
        Tensor qkv = a.qkv();
        Scratch s = packed(qkv, a.heads(), 3, 3, 3, 1);
        long bytes = qkv.size(2) / 3 * qkv.dtype().byteSize();
        Native.attention(
                DTypes.code(qkv.dtype()),
                s.address(0),
                s.address(SHAPE),
                a.scale(),
                a.causal() ? 1 : 0,
                qkv.address(),
                qkv.address() + bytes,
                qkv.address() + 2 * bytes,
                out.out().address(),
                out.lse().address());
    }

    static void packedBackward(SelfAttention.BackwardArgs a, Tensor out) {
        Tensor qkv = a.qkv();
        Scratch s = packed(qkv, a.heads(), 3, 3, 3, 1, 1, 3, 3, 3);
        long bytes = qkv.size(2) / 3 * qkv.dtype().byteSize();
        Native.attention_backward(
                DTypes.code(qkv.dtype()),
                s.address(0),
                s.address(SHAPE),
                a.scale(),
                a.causal() ? 1 : 0,
                qkv.address(),
                qkv.address() + bytes,
                qkv.address() + 2 * bytes,
                a.out().address(),
                a.lse().address(),
                a.grad().address(),
                out.address(),
                out.address() + bytes,
                out.address() + 2 * bytes);
    }
}
