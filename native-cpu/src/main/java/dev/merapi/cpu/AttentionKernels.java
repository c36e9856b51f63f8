// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.ops.Attention;
import dev.merapi.tensor.Tensor;

/** Fused attention. Operands may be strided views (of one packed projection) as long as their last dimension is dense. */
final class AttentionKernels {
    private AttentionKernels() {}

    private static Tensor dense(Tensor t) {
        return t.size(3) == 1 || t.layout().stride(3) == 1 ? t : t.contiguous();
    }

    private static Scratch shape(Tensor q, Tensor k, Tensor... strided) {
        Scratch scratch = Scratch.begin().reserve(5 + 3 * strided.length);
        scratch.put(q.size(0)).put(q.size(1)).put(q.size(2)).put(k.size(2)).put(q.size(3));
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
        Scratch s = shape(q, k, q, k, v, out.out());
        Native.attention(
                DTypes.code(q.dtype()),
                s.address(0),
                s.address(5),
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
        Scratch s = shape(q, k, q, k, v, o, grad, out.q(), out.k(), out.v());
        Native.attention_backward(
                DTypes.code(q.dtype()),
                s.address(0),
                s.address(5),
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
}
