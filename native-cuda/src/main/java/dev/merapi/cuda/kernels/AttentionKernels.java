// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.backend.KernelTable.FLOATING;
import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.backend.KernelTable;
import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Attention;
import dev.merapi.ops.RandomOps;
import dev.merapi.ops.SelfAttention;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.util.List;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Attention and its gradients, without the matrix of scores: on tensor cores, or for any dtype, width and strides. Both take
 * masks, dropout and grouped heads; those on tensor cores are compiled for what is asked. */
public final class AttentionKernels {
    public static final Family FAMILY = Family.above(
            "philox.cuh",
            "attention.cuh",
            "attend_forward",
            "attend_backward_inner",
            "attend_backward_queries",
            "attend_backward_keys");
    public static final Family FLASH = Family.above(
            List.of("philox.cuh", "mma.cuh", "flash_tiles.cuh", "flash_choice.cuh", "flash_repair.cuh"),
            "flash.cuh",
            "flash_forward",
            "flash_backward_inner",
            "flash_backward_queries",
            "flash_backward_keys");
    private static final int THREADS = 128;
    /** Queries or keys that a block of {@link #FLASH} owns in a backward kernel. */
    private static final int OWN = 64;

    private static final int MAX_WIDTH = 512;

    private final Kernels kernels;
    private final String op;

    private AttentionKernels(String op, Kernels kernels) {
        this.op = op;
        this.kernels = kernels;
    }

    static void register(KernelTable table, Kernels kernels) {
        Function<String, AttentionKernels> of = op -> new AttentionKernels(op, kernels);
        table.make(
                "attention",
                Attention.Args.class,
                Attention.AttentionResult.class,
                FLOATING,
                of,
                AttentionKernels::attention);
        table.make(
                "attention_backward",
                Attention.BackwardArgs.class,
                Attention.Gradients.class,
                FLOATING,
                of,
                AttentionKernels::attentionBackward);
        table.make(
                "self_attention",
                SelfAttention.Args.class,
                SelfAttention.Attended.class,
                FLOATING,
                of,
                AttentionKernels::selfForward);
        table.make(
                "self_attention_backward",
                SelfAttention.BackwardArgs.class,
                FLOATING,
                of,
                AttentionKernels::selfBackward);
    }

    /** A tensor as [B, H, T, D], or the part of one that lies so: where it begins, and its strides in elements. */
    private record Heads(Tensor tensor, long first, long b, long h, long t, long d) {
        static Heads of(Tensor x) {
            return new Heads(x, 0, stride(x, 0), stride(x, 1), stride(x, 2), stride(x, 3));
        }

        /** That of a dimension of one element says nothing. */
        private static long stride(Tensor x, int dim) {
            Layout l = x.layout();
            return l.size(dim) == 1 && dim < 3 ? 0 : l.stride(dim);
        }

        /** The n-th of several that lie side by side: [B, T, parts · H · D], row-major. */
        static Heads part(Tensor x, int n, long heads, long width) {
            long all = x.size(2);
            return new Heads(x, n * heads * width, x.size(1) * all, width, all, 1);
        }

        boolean isAligned() {
            return d == 1
                    && (tensor.address() + first * tensor.dtype().byteSize()) % 16 == 0
                    && b % 8 == 0
                    && h % 8 == 0
                    && t % 8 == 0;
        }
    }

    /** Sizes of what is asked, the scale, a mask and dropout. */
    private record Problem(
            DType dtype,
            long batch,
            long heads,
            long group,
            long queries,
            long keys,
            long width,
            boolean causal,
            long shift,
            double scale,
            Choice choice) {
        long rows() {
            return batch * heads * queries;
        }

        /** As kernels are given it: with the strides of q, k, v, out, and in a backward of grad, dq, dk, dv. */
        long[] words(Heads... tensors) {
            int first = 9;
            long[] words = new long[first + 8 * 4];
            words[0] = batch;
            words[1] = heads;
            words[2] = queries;
            words[3] = keys;
            words[4] = width;
            words[5] = causal ? 1 : 0;
            words[6] = Double.doubleToRawLongBits(scale);
            words[7] = group;
            words[8] = shift;
            for (int i = 0; i < tensors.length; i++) {
                words[first + 4 * i] = tensors[i].b;
                words[first + 4 * i + 1] = tensors[i].h;
                words[first + 4 * i + 2] = tensors[i].t;
                words[first + 4 * i + 3] = tensors[i].d;
            }
            return words;
        }
    }

    /** A mask and dropout. */
    private record Choice(
            @Nullable Tensor mask,
            double dropout,
            long seed,
            long offset,
            @Nullable Tensor base) {
        static final Choice NONE = new Choice(null, 0, 0, 0, null);

        /** As kernels are given it. */
        long[] words() {
            long[] words = new long[9];
            for (int i = 0; mask != null && i < 4; i++) {
                words[i] = mask.size(i) == 1 ? 0 : mask.layout().stride(i);
            }
            words[4] = mask == null || mask.dtype() == DType.BOOL ? 0 : 1;
            words[5] = RandomOps.threshold(dropout);
            words[6] = Double.doubleToRawLongBits(RandomOps.scale(dropout));
            words[7] = seed;
            words[8] = offset;
            return words;
        }
    }

    private Problem problem(Attention.Args a) {
        Tensor q = a.q();
        boolean plain = a.mask() == null && a.dropout() == 0;
        return checked(new Problem(
                q.dtype(),
                q.size(0),
                q.size(1),
                a.group(),
                q.size(2),
                a.k().size(2),
                q.size(3),
                a.causal(),
                a.reach(),
                a.scale(),
                plain ? Choice.NONE : new Choice(a.mask(), a.dropout(), a.seed(), a.offset(), a.base())));
    }

    private Problem problem(Tensor qkv, int heads, boolean causal, double scale) {
        long positions = qkv.size(1);
        long width = qkv.size(2) / 3 / heads;
        return checked(new Problem(
                qkv.dtype(), qkv.size(0), heads, 1, positions, positions, width, causal, 0, scale, Choice.NONE));
    }

    private Problem checked(Problem p) {
        if (p.width > MAX_WIDTH) {
            throw new ShapeException(op + ": heads of " + p.width + " elements; the CUDA kernel takes at most "
                    + MAX_WIDTH + "\n  fix: use more heads.");
        }
        return p;
    }

    /**
     * What the kernels on tensor cores are compiled for.
     *
     * @param grouped whether heads share keys and values
     * @param mask 0: none, 1: bool, 2: one that is added
     */
    public record FlashTypes(DType dtype, long width, boolean grouped, int mask, boolean dropout) {
        private static FlashTypes of(Problem p) {
            Tensor mask = p.choice.mask;
            int kind = mask == null ? 0 : mask.dtype() == DType.BOOL ? 1 : 2;
            return new FlashTypes(p.dtype, p.width, p.group != 1, kind, p.choice.dropout != 0);
        }

        /** Shared memory of the backward kernels: 49 KiB for heads of 64 elements, 64.5 for 128. */
        static int backwardBytes(long width) {
            long other = width == 128 ? 32 : OWN;
            long stage = 2 * other * width * 2 + 2 * other * Float.BYTES;
            return (int) (2 * OWN * width * 2 + 2 * stage);
        }

        /** Queries that a block of the forward kernel owns: fewer where registers do not hold more. */
        private static int forwardRows(Problem p) {
            boolean chosen = p.choice.mask != null || p.choice.dropout != 0;
            return p.width == 128 || chosen ? OWN : 2 * OWN;
        }

        public String text() {
            return Family.type("T", dtype) + "#define WIDTH " + width + "\n#define GROUPED " + (grouped ? 1 : 0)
                    + "\n#define MASK " + mask + "\n#define DROPOUT " + (dropout ? 1 : 0) + "\n";
        }
    }

    /** Whether the kernels on tensor cores can read, or write, all of these. */
    private boolean isForTensorCores(Problem p, Heads... tensors) {
        boolean fits = (p.dtype == DType.BFLOAT16 || p.dtype == DType.FLOAT16)
                && (p.width == 32 || p.width == 64 || p.width == 128)
                && p.rows() > 0
                && p.scale > 0
                && p.keys > 0
                && kernels.runtime()
                        .properties(tensors[0].tensor.device().index())
                        .mma();
        for (Heads t : tensors) {
            fits = fits && t.isAligned();
        }
        return fits;
    }

    private Family.Call begun(boolean fast, Problem p, Heads at, String part) {
        return fast
                ? FLASH.call(kernels, op, at.tensor, "flash_" + part, FlashTypes.of(p), FlashTypes::text)
                : FAMILY.call(kernels, op, at.tensor, "attend_" + part, p.dtype);
    }

    /** A block for so many positions of each of the heads, or for each. */
    private static CudaRuntime.Grid grid(boolean fast, Problem p, long heads, long positions, long own) {
        int bytes = (int) (2 * p.width * p.dtype.computeType().byteSize());
        return fast
                ? CudaRuntime.Grid.of(heads * ((positions + own - 1) / own), THREADS)
                : new CudaRuntime.Grid(Math.min(heads * positions, Integer.MAX_VALUE), 1, 1, THREADS, 1, 1, bytes);
    }

    private static CudaRuntime.Grid backwardGrid(boolean fast, Problem p, long heads, long positions) {
        CudaRuntime.Grid g = grid(fast, p, heads, positions, OWN);
        return fast ? new CudaRuntime.Grid(g.x(), 1, 1, THREADS, 1, 1, FlashTypes.backwardBytes(p.width)) : g;
    }

    // ---------------------------------------------------------------- the two ops

    private void attention(Attention.Args a, Attention.AttentionResult out) {
        Problem p = problem(a);
        forward(p, Heads.of(a.q()), Heads.of(a.k()), Heads.of(a.v()), Heads.of(out.out()), out.lse());
    }

    private void selfForward(SelfAttention.Args a, SelfAttention.Attended out) {
        Problem p = problem(a.qkv(), a.heads(), a.causal(), a.scale());
        forward(p, part(p, a.qkv(), 0), part(p, a.qkv(), 1), part(p, a.qkv(), 2), part(p, out.out(), 0), out.lse());
    }

    private void attentionBackward(Attention.BackwardArgs a, Attention.Gradients out) {
        if (a.q().numel() == 0 || a.k().numel() == 0) {
            for (Tensor t : new Tensor[] {out.q(), out.k(), out.v()}) {
                if (t.numel() > 0) {
                    t.zero_();
                }
            }
            return;
        }
        Problem p = problem(a.forward());
        Heads[] all = {
            Heads.of(a.q()),
            Heads.of(a.k()),
            Heads.of(a.v()),
            Heads.of(a.out()),
            Heads.of(a.grad()),
            Heads.of(out.q()),
            Heads.of(out.k()),
            Heads.of(out.v())
        };
        // A gradient that is a sum's is one number, many times.
        if (!isForTensorCores(p, all[4]) && isForTensorCores(p, all[0], all[1], all[2], all[3])) {
            try (Tensor grad = a.grad().copy()) {
                all[4] = Heads.of(grad);
                backward(p, all, a.lse());
            }
        } else {
            backward(p, all, a.lse());
        }
    }

    private void selfBackward(SelfAttention.BackwardArgs a, Tensor out) {
        if (out.numel() == 0) {
            return;
        }
        Problem p = problem(a.qkv(), a.heads(), a.causal(), a.scale());
        Heads[] all = {
            part(p, a.qkv(), 0),
            part(p, a.qkv(), 1),
            part(p, a.qkv(), 2),
            part(p, a.out(), 0),
            part(p, a.grad(), 0),
            part(p, out, 0),
            part(p, out, 1),
            part(p, out, 2)
        };
        backward(p, all, a.lse());
    }

    private static Heads part(Problem p, Tensor x, int n) {
        return Heads.part(x, n, p.heads, p.width);
    }

    // ---------------------------------------------------------------- launches

    private static Family.Call pointer(Family.Call call, Heads x) {
        return call.pointer(x.tensor, x.first);
    }

    private void forward(Problem p, Heads q, Heads k, Heads v, Heads y, Tensor lse) {
        if (p.rows() == 0 || p.width == 0) {
            return;
        }
        boolean fast = isForTensorCores(p, q, k, v, y);
        Family.Call call = begun(fast, p, q, "forward");
        pointer(call, q);
        pointer(call, k);
        pointer(call, v);
        choice(pointer(call, y).pointer(lse), p)
                .struct(p.words(q, k, v, y))
                .run(grid(fast, p, p.batch * p.heads, p.queries, FlashTypes.forwardRows(p)));
    }

    /** @param all q, k, v, out, grad, and where the gradients of the first three go */
    private void backward(Problem p, Heads[] all, Tensor lseOfAny) {
        Tensor lse = lseOfAny.contiguous();
        long[] words = p.words(all);
        boolean fast = isForTensorCores(p, all);
        // Two numbers of each query.
        Shape pairs = lse.shape().with(-1, 2 * lse.size(-1));
        try (Tensor numbers = TENSORS.allocate(pairs, lse.dtype(), lse.device())) {
            Family.Call call = begun(fast, p, all[0], "backward_inner");
            pointer(call, all[4]);
            pointer(call, all[3])
                    .pointer(lse)
                    .pointer(numbers)
                    .struct(words)
                    .each(fast ? p.rows() * p.width / 8 : p.rows());
            call = gradient(fast, p, all, "backward_queries", numbers);
            long heads = p.batch * p.heads;
            choice(pointer(call, all[5]), p).struct(words).run(backwardGrid(fast, p, heads, p.queries));
            call = gradient(fast, p, all, "backward_keys", numbers);
            pointer(call, all[6]);
            choice(pointer(call, all[7]), p).struct(words).run(backwardGrid(fast, p, heads / p.group, p.keys));
        }
    }

    private static Family.Call choice(Family.Call call, Problem p) {
        return call.pointer(p.choice.mask).pointer(p.choice.base).struct(p.choice.words());
    }

    private Family.Call gradient(boolean fast, Problem p, Heads[] all, String part, Tensor numbers) {
        Family.Call call = begun(fast, p, all[0], part);
        pointer(call, all[4]);
        pointer(call, all[0]);
        pointer(call, all[1]);
        return pointer(call, all[2]).pointer(numbers);
    }
}
