// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import java.nio.ByteBuffer;
import org.bytedeco.javacpp.annotation.Namespace;
import org.bytedeco.javacpp.annotation.Platform;
import org.bytedeco.javacpp.annotation.Raw;

/**
 * The native kernels. Primitives and addresses only: a call costs a JNI transition and no object. The C++ headers hold
 * the contract of each function; status codes are those of {@code merapi_cpu.h} (0 is success). What C++ throws, which is
 * only that there is no working memory, arrives as a {@link RuntimeException}: see {@link StructuredKernels}.
 */
@Platform(
        include = {"merapi_cpu.h", "merapi_kernels.h", "merapi_memory.h", "jni_buffers.h"},
        library = Native.LIBRARY)
@Namespace("merapi::abi")
final class Native {
    /** Not as JavaCPP would name it, by the class: one of a user's may have the same simple name. */
    static final String LIBRARY = "merapi_cpu";

    static {
        NativeLibrary.load(Native.class, LIBRARY);
        set_num_threads(Runtime.getRuntime().availableProcessors());
    }

    private Native() {}

    // ---- merapi_cpu.h: threads, pointwise programs, reductions ----

    static native int num_threads();

    static native void set_num_threads(int threads);

    static native int isa_level();

    static native long openblas_callback_address();

    static native int dtype_code(String name);

    static native int reduction_code(String name);

    static native int scatter_reduction_code(String name);

    static native long program_create(long text, long length, long error, long errorCapacity);

    static native void program_destroy(long handle);

    static native long programs_alive();

    static native int program_run_flat(
            long handle, long n, long out, long in0, long in1, long in2, int broadcast, long scalars);

    static native int program_run(long handle, long descriptor);

    static native long reduce_create(long text, long length, long error, long errorCapacity);

    static native void reduce_destroy(long handle);

    static native int reduce_run(long handle, long descriptor);

    // ---- jni_buffers.h: without JavaCPP's own library, which needs a younger system than ours ----

    @Raw(withEnv = true)
    static native ByteBuffer buffer_at(long address, long bytes);

    static native long address_of(@Raw(withEnv = true) ByteBuffer buffer);

    // ---- merapi_memory.h ----

    /** For tests: the most working memory that a kernel gets at once. */
    static native void working_memory_limit(long bytes);

    static native long memory_allocate(long bytes);

    static native void memory_free(long address, long bytes);

    static native long memory_guarded_size(long bytes);

    static native long memory_guarded_allocate(long bytes);

    static native void memory_guarded_free(long address, long size);

    static native long memory_map(String path, long offset, long bytes);

    static native void memory_unmap(long address, long bytes);

    static native long memory_limit();

    static native long symbol_address(long path, long symbol);

    // ---- merapi_kernels.h: structured kernels ----

    static native void softmax(int dtype, long x, long y, long outer, long n, long inner);

    static native void log_softmax(int dtype, long x, long y, long outer, long n, long inner);

    static native void softmax_backward(int dtype, long y, long g, long dx, long outer, long n, long inner);

    static native void log_softmax_backward(int dtype, long y, long g, long dx, long outer, long n, long inner);

    static native void logsumexp(int dtype, long x, long out, long outer, long n, long inner);

    static native long cross_entropy(
            int dtype,
            long logits,
            long targets,
            long weight,
            long rows,
            long classes,
            long ignoreIndex,
            double smoothing,
            int reduction,
            long result,
            long lse,
            long totalWeight);

    static native long cross_entropy_backward(
            int dtype,
            long logits,
            long targets,
            long weight,
            long rows,
            long classes,
            long ignoreIndex,
            double smoothing,
            int reduction,
            long lse,
            long totalWeight,
            long grad,
            long dlogits);

    static native void layer_norm(
            int dtype, long x, long weight, long bias, long rows, long n, double eps, long y, long mean, long rstd);

    static native void layer_norm_backward(
            int dtype,
            long dy,
            long x,
            long mean,
            long rstd,
            long weight,
            long rows,
            long n,
            long dx,
            long dweight,
            long dbias);

    static native void rms_norm(int dtype, long x, long weight, long rows, long n, double eps, long y, long rstd);

    static native void rms_norm_backward(
            int dtype, long dy, long x, long rstd, long weight, long rows, long n, long dx, long dweight);

    static native long check_indices(int indexDtype, long indices, long count, long size);

    static native long index_select(
            int elementSize, long x, int indexDtype, long indices, long outer, long dim, long inner, long k, long out);

    static native long index_add(
            int dtype,
            long src,
            int indexDtype,
            long indices,
            long outer,
            long dim,
            long inner,
            long k,
            long skip,
            long out);

    static native long gather(
            int elementSize, long x, int indexDtype, long indices, long outer, long dim, long inner, long k, long out);

    static native long scatter(
            int elementSize,
            long src,
            int indexDtype,
            long indices,
            long outer,
            long dim,
            long inner,
            long k,
            long out);

    static native long index_copy(
            int elementSize,
            long src,
            int indexDtype,
            long indices,
            long outer,
            long dim,
            long inner,
            long k,
            long out);

    static native long scatter_reduce(
            int dtype,
            long x,
            long src,
            int indexDtype,
            long indices,
            long outer,
            long dim,
            long inner,
            long k,
            int reduction,
            int includeSelf,
            long out);

    static native void search_sorted(
            int dtype, long sorted, long values, long count, long n, long each, int right, long out);

    static native void triangle(
            int elementSize, long x, long matrices, long rows, long columns, long diagonal, int lower, long out);

    static native void arange(int dtype, long start, long step, long n, long out);

    static native void arange_real(int dtype, double start, double step, long n, long out);

    static native void linspace(int dtype, double start, double end, long n, long out);

    static native void one_hot(int dtype, int indexDtype, long indices, long n, long classes, long out);

    static native long nll_loss(
            int dtype,
            long logProbabilities,
            long targets,
            long weight,
            long rows,
            long classes,
            long ignoreIndex,
            int reduction,
            long result);

    static native long nll_loss_backward(
            int dtype,
            long targets,
            long weight,
            long rows,
            long classes,
            long ignoreIndex,
            int reduction,
            long grad,
            long out);

    static native long scatter_add(
            int dtype, long src, int indexDtype, long indices, long outer, long dim, long inner, long k, long out);

    static native void blas_init(long sgemm, long dgemm, long setNumThreads);

    static native long blas_threshold(long multiplyAdds);

    static native void gemm(
            int dtype,
            int transA,
            int transB,
            long m,
            long n,
            long k,
            double alpha,
            long a,
            long lda,
            long b,
            long ldb,
            double beta,
            long c,
            long ldc);

    static native void linear(int dtype, long x, long weight, long bias, long rows, long in, long out, long y);

    static native void gemm_batched(
            int dtype,
            int transA,
            int transB,
            long batch,
            long m,
            long n,
            long k,
            double alpha,
            long a,
            long lda,
            long strideA,
            long offsetsA,
            long b,
            long ldb,
            long strideB,
            long offsetsB,
            double beta,
            long c,
            long ldc,
            long strideC);

    static native void attention(
            int dtype, long shape, long strides, double scale, int causal, long q, long k, long v, long o, long lse);

    static native void attention_backward(
            int dtype,
            long shape,
            long strides,
            double scale,
            int causal,
            long q,
            long k,
            long v,
            long o,
            long lse,
            long grad,
            long dq,
            long dk,
            long dv);

    static native void conv2d(int dtype, long shape, long x, long weight, long bias, long y);

    static native void conv2d_backward(
            int dtype, long shape, long x, long weight, long dy, long dx, long dweight, long dbias);

    static native void max_pool2d(int dtype, long shape, long x, long y, long indices);

    static native void max_pool2d_backward(int dtype, long shape, long dy, long indices, long dx);

    static native void avg_pool2d(int dtype, long shape, int countIncludePad, long x, long y);

    static native void avg_pool2d_backward(int dtype, long shape, int countIncludePad, long dy, long dx);

    static native void random_bits(long seed, long offset, long n, long out);

    static native void random_uniform(int dtype, long seed, long offset, long n, double low, double high, long out);

    static native void random_normal(
            int dtype, long seed, long offset, long n, double mean, double deviation, long out);

    static native void random_integers(int dtype, long seed, long offset, long n, long low, long range, long out);

    static native void random_mask(long seed, long offset, long n, long threshold, long out);

    static native void dropout(
            int dtype, long x, long seed, long offset, long n, long threshold, double scale, long y, long mask);

    static native void dropout_backward(int dtype, long grad, long mask, long n, double scale, long dx);

    static native void adam(
            int dtype,
            long list,
            long count,
            double beta1,
            double beta2,
            double eps,
            double weightDecay,
            int decoupled,
            long lr,
            long gradScale,
            long skip);

    static native void sgd(
            int dtype,
            long list,
            long count,
            double momentum,
            double dampening,
            int nesterov,
            double weightDecay,
            long lr,
            long gradScale,
            long skip);

    static native void grad_norm(
            int dtype, long list, long count, double maxNorm, long before, long norm, long scale, long flag);

    static native void scale_grads(int dtype, long list, long count, long scale);

    static native void cumsum(int dtype, long x, long outer, long n, long inner, long y);

    static native void cumprod(int dtype, long x, long outer, long n, long inner, long y);

    static native void logcumsumexp(int dtype, long x, long outer, long n, long inner, long y);

    static native void cumulative_extreme(
            int dtype, int largest, long x, long outer, long n, long inner, long values, long indices);

    static native void sort(int dtype, long x, long rows, long n, int descending, long values, long indices);

    static native void topk(int dtype, long x, long rows, long n, long k, int largest, long values, long indices);

    static native long nonzero_count(int dtype, long x, long n);

    static native void nonzero(int dtype, long x, long ndim, long shape, long out);
}
