// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static dev.merapi.backend.KernelTable.ALL;
import static dev.merapi.backend.KernelTable.FLOATING;
import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.backend.KernelTable;
import dev.merapi.ops.Indexing;
import dev.merapi.ops.Ordering;
import dev.merapi.ops.Scattering;
import dev.merapi.ops.Searching;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;

/** Indexing ops natively. Every index is checked before anything is written. */
final class IndexKernels {
    private IndexKernels() {}

    static void register(KernelTable table) {
        table.put("gather", Indexing.Gather.class, ALL, IndexKernels::gather);
        table.put("scatter", Indexing.Scatter.class, ALL, IndexKernels::scatter);
        table.put("scatter_add_", Indexing.Scatter.class, IndexKernels::adds, IndexKernels::scatterAddInto);
        table.put("index_copy_", Indexing.IndexAdd.class, ALL, IndexKernels::indexCopyInto);
        table.put("scatter_reduce", Scattering.ScatterReduce.class, IndexKernels::adds, IndexKernels::scatterReduce);
        table.put("search_sorted", Searching.SearchSorted.class, ALL, IndexKernels::searchSorted);
        table.put("index_select", Indexing.IndexSelect.class, ALL, IndexKernels::indexSelect);
        table.put("index_add_", Indexing.IndexAdd.class, IndexKernels::adds, IndexKernels::indexAddInto);
        table.put("embedding", Indexing.Embedding.class, ALL, IndexKernels::embedding);
        table.put("embedding_backward", Indexing.EmbeddingBackward.class, FLOATING, IndexKernels::embeddingBackward);
        table.put("topk", Ordering.TopK.class, Ordering.Ordered.class, ALL, IndexKernels::topk);
        table.putReturning("nonzero", Indexing.NonZero.class, Tensor.class, ALL, IndexKernels::nonzero);
    }

    /** A row-major tensor as [outer, length, inner] around a dimension. */
    record Around(long outer, long length, long inner) {
        static Around of(Shape shape, int dim) {
            int d = shape.normalize(dim);
            long outer = 1;
            long inner = 1;
            for (int i = 0; i < shape.rank(); i++) {
                outer *= i < d ? shape.size(i) : 1;
                inner *= i > d ? shape.size(i) : 1;
            }
            return new Around(outer, shape.rank() == 0 ? 1 : shape.size(d), inner);
        }
    }

    static int checked(String op, Tensor index, long size) {
        int dtype = DTypes.code(index.dtype());
        if (index.numel() > 0) {
            long bad = Native.check_indices(dtype, index.address(), index.numel(), size);
            if (bad >= 0) {
                throw Indexing.outOfRange(op, bad, Elements.of(index).getLong(bad), size)
                        .beforeWriting();
            }
        }
        return dtype;
    }

    /** Ends a kernel: an index that was good before and is not now was written by another thread meanwhile. */
    private static void settle(String op, Tensor index, long size, long outside) {
        if (outside >= 0) {
            throw Indexing.outOfRange(op, outside, Elements.of(index).getLong(outside), size);
        }
    }

    static void gather(Indexing.Gather a, Tensor out) {
        Around x = Around.of(a.x().shape(), a.dim());
        Around k = Around.of(a.index().shape(), a.dim());
        int indexType = checked("gather", a.index(), x.length);
        settle(
                "gather",
                a.index(),
                x.length,
                Native.gather(
                        out.dtype().byteSize(),
                        a.x().address(),
                        indexType,
                        a.index().address(),
                        x.outer,
                        x.length,
                        x.inner,
                        k.length,
                        out.address()));
    }

    static void topk(Ordering.TopK a, Ordering.Ordered out) {
        long n = a.x().rank() == 0 ? 1 : a.x().size(-1);
        if (out.values().numel() > 0) {
            Native.topk(
                    DTypes.code(a.x().dtype()),
                    a.x().address(),
                    a.x().numel() / n,
                    n,
                    a.k(),
                    a.largest() ? 1 : 0,
                    out.values().address(),
                    out.indices().address());
        }
    }

    static void indexSelect(Indexing.IndexSelect a, Tensor out) {
        Around x = Around.of(a.x().shape(), a.dim());
        int indexType = checked("index_select", a.index(), x.length);
        settle(
                "index_select",
                a.index(),
                x.length,
                Native.index_select(
                        out.dtype().byteSize(),
                        a.x().address(),
                        indexType,
                        a.index().address(),
                        x.outer,
                        x.length,
                        x.inner,
                        a.index().numel(),
                        out.address()));
    }

    /** True if the native adds know the dtype. */
    static boolean adds(DType dtype) {
        return dtype != DType.BOOL;
    }

    static void scatterAddInto(Indexing.Scatter a, Tensor out) {
        Around x = Around.of(out.shape(), a.dim());
        Around k = Around.of(a.index().shape(), a.dim());
        int indexType = checked("scatter_add_", a.index(), x.length);
        settle(
                "scatter_add_",
                a.index(),
                x.length,
                Native.scatter_add(
                        DTypes.code(out.dtype()),
                        a.src().address(),
                        indexType,
                        a.index().address(),
                        x.outer,
                        x.length,
                        x.inner,
                        k.length,
                        out.address()));
    }

    static void indexAddInto(Indexing.IndexAdd a, Tensor out) {
        Around x = Around.of(out.shape(), a.dim());
        int indexType = checked("index_add_", a.index(), x.length);
        settle(
                "index_add_",
                a.index(),
                x.length,
                Native.index_add(
                        DTypes.code(out.dtype()),
                        a.src().address(),
                        indexType,
                        a.index().address(),
                        x.outer,
                        x.length,
                        x.inner,
                        a.index().numel(),
                        -1,
                        out.address()));
    }

    static void indexCopyInto(Indexing.IndexAdd a, Tensor out) {
        Around x = Around.of(out.shape(), a.dim());
        int indexType = checked("index_copy_", a.index(), x.length);
        settle(
                "index_copy_",
                a.index(),
                x.length,
                Native.index_copy(
                        out.dtype().byteSize(),
                        a.src().address(),
                        indexType,
                        a.index().address(),
                        x.outer,
                        x.length,
                        x.inner,
                        a.index().numel(),
                        out.address()));
    }

    static void scatterReduce(Scattering.ScatterReduce a, Tensor out) {
        Around x = Around.of(out.shape(), a.dim());
        Around k = Around.of(a.index().shape(), a.dim());
        int indexType = checked("scatter_reduce", a.index(), x.length);
        settle(
                "scatter_reduce",
                a.index(),
                x.length,
                Native.scatter_reduce(
                        DTypes.code(out.dtype()),
                        a.x().address(),
                        a.src().address(),
                        indexType,
                        a.index().address(),
                        x.outer,
                        x.length,
                        x.inner,
                        k.length,
                        DTypes.code(a.reduce()),
                        a.includeSelf() ? 1 : 0,
                        out.address()));
    }

    static void searchSorted(Searching.SearchSorted a, Tensor out) {
        Native.search_sorted(
                DTypes.code(a.values().dtype()),
                a.sorted().address(),
                a.values().address(),
                out.numel(),
                a.sorted().size(-1),
                a.sorted().rank() == 1 ? Math.max(1, out.numel()) : a.values().size(-1),
                a.right() ? 1 : 0,
                out.address());
    }

    static void embedding(Indexing.Embedding a, Tensor out) {
        long rows = a.weight().size(0);
        int indexType = checked("embedding", a.indices(), rows);
        settle(
                "embedding",
                a.indices(),
                rows,
                Native.index_select(
                        out.dtype().byteSize(),
                        a.weight().address(),
                        indexType,
                        a.indices().address(),
                        1,
                        rows,
                        a.weight().size(1),
                        a.indices().numel(),
                        out.address()));
    }

    static void embeddingBackward(Indexing.EmbeddingBackward a, Tensor out) {
        int indexType = checked("embedding_backward", a.indices(), a.rows());
        out.zero_();
        settle(
                "embedding_backward",
                a.indices(),
                a.rows(),
                Native.index_add(
                        DTypes.code(out.dtype()),
                        a.g().address(),
                        indexType,
                        a.indices().address(),
                        1,
                        a.rows(),
                        out.size(1),
                        a.indices().numel(),
                        a.paddingIndex(),
                        out.address()));
    }

    static void scatter(Indexing.Scatter a, Tensor out) {
        Around x = Around.of(out.shape(), a.dim());
        Around k = Around.of(a.index().shape(), a.dim());
        int indexType = checked("scatter", a.index(), x.length);
        out.copy_(a.x());
        settle(
                "scatter",
                a.index(),
                x.length,
                Native.scatter(
                        out.dtype().byteSize(),
                        a.src().address(),
                        indexType,
                        a.index().address(),
                        x.outer,
                        x.length,
                        x.inner,
                        k.length,
                        out.address()));
    }

    static Tensor nonzero(Indexing.NonZero a) {
        Tensor x = a.x();
        int dtype = DTypes.code(x.dtype());
        long count = x.numel() == 0 ? 0 : Native.nonzero_count(dtype, x.address(), x.numel());
        Tensor out = TENSORS.allocate(Shape.of(count, x.rank()), DType.INT64, x.device());
        if (out.numel() > 0) {
            Scratch shape = Scratch.begin().reserve(x.rank());
            for (int d = 0; d < x.rank(); d++) {
                shape.put(x.size(d));
            }
            Native.nonzero(dtype, x.address(), x.rank(), shape.address(), out.address());
        }
        return out;
    }
}
