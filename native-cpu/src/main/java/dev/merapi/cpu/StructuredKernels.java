// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.op.Kernel;
import dev.merapi.ops.Indexing;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.ops.RandomOps;
import dev.merapi.ops.Reductions;
import dev.merapi.ops.Softmax;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** Which native kernel serves which structured op, by name and dtype. Ops that are not here run their reference. */
final class StructuredKernels {
    private record Entry(Predicate<DType> dtypes, Kernel<?, ?> kernel) {}

    private static final Map<String, Entry> TABLE = new HashMap<>();
    private static final Predicate<DType> FLOATING = DType::isFloating;
    private static final Predicate<DType> ALL = dtype -> true;

    static {
        put("matmul", FLOATING, (LinearAlgebra.Matmul a, Tensor out) -> MatmulKernels.matmul(a, out));
        put("linear", FLOATING, (LinearAlgebra.Linear a, Tensor out) -> MatmulKernels.linear(a, out));

        put("softmax", FLOATING, (Softmax.Along a, Tensor out) -> SoftmaxKernels.softmax(a, out));
        put("log_softmax", FLOATING, (Softmax.Along a, Tensor out) -> SoftmaxKernels.logSoftmax(a, out));
        put("softmax_backward", FLOATING, (Softmax.BackwardArgs a, Tensor out) -> SoftmaxKernels.softmaxBackward(a, out));
        put(
                "log_softmax_backward",
                FLOATING,
                (Softmax.BackwardArgs a, Tensor out) -> SoftmaxKernels.logSoftmaxBackward(a, out));
        put("logsumexp", FLOATING, (Softmax.Along a, Tensor out) -> SoftmaxKernels.logSumExp(a, out));
        put("cumsum", SoftmaxKernels::scans, (Reductions.CumSum a, Tensor out) -> SoftmaxKernels.cumsum(a, out));

        put("gather", ALL, (Indexing.Gather a, Tensor out) -> IndexKernels.gather(a, out));
        put("index_select", ALL, (Indexing.IndexSelect a, Tensor out) -> IndexKernels.indexSelect(a, out));
        put("scatter_add_", IndexKernels::adds, (Indexing.Scatter a, Tensor out) -> IndexKernels.scatterAddInto(a, out));
        put("index_add_", IndexKernels::adds, (Indexing.IndexAdd a, Tensor out) -> IndexKernels.indexAddInto(a, out));
        put("embedding", ALL, (Indexing.Embedding a, Tensor out) -> IndexKernels.embedding(a, out));
        put(
                "embedding_backward",
                FLOATING,
                (Indexing.EmbeddingBackward a, Tensor out) -> IndexKernels.embeddingBackward(a, out));

        put("uniform_", FLOATING, (RandomOps.Uniform a, Tensor out) -> RandomKernels.uniform(a, out));
        put("normal_", FLOATING, (RandomOps.Normal a, Tensor out) -> RandomKernels.normal(a, out));
        put("integers_", ALL, (RandomOps.Integers a, Tensor out) -> RandomKernels.integers(a, out));
        put("bernoulli_", ALL, (RandomOps.Bernoulli a, Tensor out) -> RandomKernels.bernoulli(a, out));
        put("dropout", FLOATING, (RandomOps.Dropout a, RandomOps.Dropped out) -> RandomKernels.dropout(a, out));
    }

    private StructuredKernels() {}

    private static <A, R> void put(String op, Predicate<DType> dtypes, Kernel<A, R> kernel) {
        TABLE.put("merapi::" + op, new Entry(dtypes, kernel));
    }

    /** The kernel of an op for a dtype, or null. */
    static @Nullable Object of(String op, @Nullable DType dtype) {
        Entry entry = TABLE.get(op);
        return entry != null && dtype != null && entry.dtypes.test(dtype) ? entry.kernel : null;
    }
}
