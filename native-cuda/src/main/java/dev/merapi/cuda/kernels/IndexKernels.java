// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.backend.KernelTable.ALL;
import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.backend.KernelTable;
import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.launch.SilentSyncs;
import dev.merapi.dispatch.ThreadMode;
import dev.merapi.ops.Indexing;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Elements chosen by indices. Sums into the same element have one order. Where indices stand for whole rows and are many, or
 * for elements of few but long lanes, {@link SegmentKernels} sums; else a thread for each of [outer, inner] goes over its
 * indices, of which it has its own.
 */
public final class IndexKernels {
    public static final Family FAMILY = new Family("indexing.cuh", "check", "scatter", "embedding_backward", "one_hot");

    private final Kernels kernels;
    private final String op;

    private IndexKernels(String op, Kernels kernels) {
        this.op = op;
        this.kernels = kernels;
    }

    static void register(KernelTable table, Kernels kernels) {
        Function<String, IndexKernels> of = op -> new IndexKernels(op, kernels);
        table.make("gather", Indexing.Gather.class, ALL, of, IndexKernels::gather);
        table.make("index_select", Indexing.IndexSelect.class, ALL, of, IndexKernels::indexSelect);
        table.make("embedding", Indexing.Embedding.class, ALL, of, IndexKernels::embedding);
        table.make("scatter", Indexing.Scatter.class, ALL, of, IndexKernels::scattered);
        table.make("scatter_add_", Indexing.Scatter.class, ALL, of, IndexKernels::scatterAddInto);
        table.make("index_add_", Indexing.IndexAdd.class, ALL, of, IndexKernels::indexAddInto);
        table.make("index_copy_", Indexing.IndexAdd.class, ALL, of, IndexKernels::indexCopyInto);
        table.make("embedding_backward", Indexing.EmbeddingBackward.class, ALL, of, IndexKernels::embeddingBackward);
        table.make("one_hot", Indexing.OneHot.class, ALL, of, IndexKernels::oneHot);
    }

    /** What the kernels are compiled for. */
    public record Types(DType storage, DType index) {
        public String text() {
            return Family.type("T", storage)
                    + Family.type("I", index)
                    + Family.type("ACC", storage.isFloating() ? storage.computeType() : DType.INT64);
        }
    }

    private void scattered(Indexing.Scatter a, Tensor out) {
        check(a.index(), along(out, a.dim()));
        out.copy_(a.x());
        scatter(out, a.dim(), a.index(), a.src(), false, false);
    }

    private void scatterAddInto(Indexing.Scatter a, Tensor out) {
        check(a.index(), along(out, a.dim()));
        added(out, a.dim(), a.index(), a.src(), false);
    }

    private void indexAddInto(Indexing.IndexAdd a, Tensor out) {
        check(a.index(), along(out, a.dim()));
        added(out, a.dim(), a.index(), a.src(), true);
    }

    private void indexCopyInto(Indexing.IndexAdd a, Tensor out) {
        check(a.index(), along(out, a.dim()));
        scatter(out, a.dim(), a.index(), a.src(), true, false);
    }

    private static long along(Tensor out, int dim) {
        return out.rank() == 0 ? 1 : out.size(dim);
    }

    private String name() {
        return name(op);
    }

    private static String name(String op) {
        return op.replace("merapi::", "");
    }

    private Family.Call call(Tensor at, Tensor index, String entry) {
        return FAMILY.call(kernels, op, at, entry, new Types(at.dtype(), index.dtype()), Types::text);
    }

    // ---------------------------------------------------------------- checks

    /** Where launches are waited for, indices are checked before anything is written; elsewhere kernels report them. */
    private void check(Tensor index, long size) {
        requireInside(kernels, op, index, size);
    }

    static void requireInside(Kernels kernels, String op, Tensor index, long size) {
        long position = firstOutside(kernels, op, index, -size, size, 0, false);
        if (position >= 0) {
            throw Indexing.outOfRange(name(op), position, indexAt(index, position), size)
                    .beforeWriting();
        }
    }

    /**
     * The first position whose index is neither in [low, high) nor the one to be ignored; −1 if there is none, or if the
     * kernel itself reports it later.
     */
    static long firstOutside(
            Kernels kernels, String op, Tensor index, long low, long high, long ignore, boolean ignores) {
        if (index.numel() == 0 || kernels.isLate()) {
            return -1;
        }
        try (ThreadMode wait = SilentSyncs.allow();
                Tensor first = TENSORS.allocate(Shape.SCALAR, DType.INT64, index.device())) {
            first.fill_(Long.MAX_VALUE);
            FAMILY.call(kernels, op, index, "check", new Types(DType.FLOAT32, index.dtype()), Types::text)
                    .pointer(index)
                    .word(index.numel())
                    .word(low)
                    .word(high)
                    .word(ignore)
                    .flag(ignores)
                    .pointer(first)
                    .each(index.numel());
            long position = first.itemLong();
            return position == Long.MAX_VALUE ? -1 : position;
        }
    }

    /** One index; for messages. */
    static long indexAt(Tensor index, long position) {
        try (ThreadMode wait = SilentSyncs.allow();
                Tensor flat = index.reshape(-1);
                Tensor one = flat.select(0, position)) {
            return one.itemLong();
        }
    }

    // ---------------------------------------------------------------- kernels

    static long inner(Shape shape, int dim) {
        long inner = 1;
        for (int d = shape.rank() == 0 ? 0 : shape.normalize(dim) + 1; d < shape.rank(); d++) {
            inner *= shape.size(d);
        }
        return inner;
    }

    private LookupKernels lookup() {
        return new LookupKernels(kernels, op, name());
    }

    private void gather(Indexing.Gather a, Tensor out) {
        Tensor x = a.x();
        long size = x.rank() == 0 ? 1 : x.size(a.dim());
        check(a.index(), size);
        long n = out.rank() == 0 ? 1 : out.size(a.dim());
        lookup().elements(x, a.index(), out, size, n, inner(out.shape(), a.dim()));
    }

    private void indexSelect(Indexing.IndexSelect a, Tensor out) {
        Tensor x = a.x();
        long size = x.rank() == 0 ? 1 : x.size(a.dim());
        check(a.index(), size);
        lookup().rows(x, a.index(), out, size, inner(out.shape(), a.dim()));
    }

    private void embedding(Indexing.Embedding a, Tensor out) {
        Tensor weight = a.weight();
        check(a.indices(), weight.size(0));
        lookup().rows(weight, a.indices(), out, weight.size(0), weight.size(1));
    }

    /** Small floats add up in float32, and round once. */
    private void added(Tensor x, int dim, Tensor index, Tensor source, boolean row) {
        if (source.numel() == 0) {
            return;
        }
        SegmentKernels segments = x.isContiguous() ? segments(x, dim, index, source, row) : null;
        if (segments != null) {
            segments.add(-1);
            return;
        }
        if (x.dtype() == x.dtype().computeType() && x.isContiguous()) {
            scatter(x, dim, index, source, row, true);
            return;
        }
        try (Tensor sums = TENSORS.allocate(x.shape(), x.dtype().computeType(), x.device());
                Tensor terms = TENSORS.allocate(source.shape(), x.dtype().computeType(), x.device())) {
            sums.copy_(x);
            terms.copy_(source);
            scatter(sums, dim, index, terms, row, true);
            x.copy_(sums);
        }
    }

    /** Null where sorting does not pay. */
    private @Nullable SegmentKernels segments(Tensor x, int dim, Tensor index, Tensor source, boolean row) {
        if (x.rank() == 0) {
            return null;
        }
        long size = x.size(dim);
        long inner = inner(x.shape(), dim);
        long n = source.size(dim);
        if (row || source.numel() == n) {
            return SegmentKernels.isFor(n, size)
                    ? SegmentKernels.rows(kernels, op, name(), x, index, source, inner, size)
                    : null;
        }
        return SegmentKernels.isForElements(n, source.numel() / n, x.numel())
                ? SegmentKernels.elements(kernels, op, name(), x, index, source, n, inner, size)
                : null;
    }

    private void scatter(Tensor x, int dim, Tensor index, Tensor source, boolean row, boolean adds) {
        long n = source.rank() == 0 ? 1 : source.size(dim);
        if (source.numel() == 0) {
            return;
        }
        SegmentKernels segments = adds ? null : segments(x, dim, index, source, row);
        if (segments != null) {
            segments.put();
            return;
        }
        long lanes = source.numel() / n;
        call(x, index, "scatter")
                .pointer(x)
                .pointer(index)
                .pointer(source)
                .word(lanes)
                .word(n)
                .word(x.rank() == 0 ? 1 : x.size(dim))
                .word(inner(x.shape(), dim))
                .flag(row)
                .flag(adds)
                .fault(name())
                .each(lanes);
    }

    private void embeddingBackward(Indexing.EmbeddingBackward a, Tensor out) {
        check(a.indices(), a.rows());
        if (a.g().numel() > 0 && SegmentKernels.isFor(a.indices().numel(), a.rows())) {
            out.zero_();
            SegmentKernels.rows(kernels, op, name(), out, a.indices(), a.g(), out.size(1), a.rows())
                    .add(a.paddingIndex());
            return;
        }
        DType compute = out.dtype().isFloating() ? out.dtype().computeType() : DType.INT64;
        Tensor sums = compute == out.dtype() ? out : TENSORS.allocate(out.shape(), compute, out.device());
        sums.zero_();
        long width = out.size(1);
        if (a.indices().numel() > 0) {
            call(out, a.indices(), "embedding_backward")
                    .pointer(a.g())
                    .pointer(a.indices())
                    .pointer(sums)
                    .word(a.indices().numel())
                    .word(a.rows())
                    .word(width)
                    .word(a.paddingIndex())
                    .fault(name())
                    .each(width);
        }
        if (sums != out) {
            out.copy_(sums);
            sums.close();
        }
    }

    private void oneHot(Indexing.OneHot a, Tensor out) {
        check(a.indices(), a.classes());
        call(out, a.indices(), "one_hot")
                .pointer(a.indices())
                .pointer(out)
                .word(out.numel())
                .word(a.classes())
                .fault(name())
                .each(out.numel());
    }
}
