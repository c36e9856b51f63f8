// SPDX-License-Identifier: Apache-2.0
//
// Structured CPU kernels, as Java calls them: primitives and addresses only. Nothing here throws or allocates results.
//
// A dtype is the number that dtype_code gives for its name. Without other words a kernel takes the floating ones; 16-bit floats compute in float and round once. "compute dtype" is f64 for f64 and f32 for the others.
// Arrays are contiguous and row-major unless strides are given; strides and leading dimensions count elements. An
// address of 0 means "absent" where it says (0 ok). No result depends on the number of threads. An output is never an
// input's memory, unless it says (in place ok).
#pragma once

#include <cstdint>

namespace merapi {
namespace abi {

// ---- softmax over the middle dimension of [outer, n, inner] ---------------------------------------------------------

void softmax(int dtype, int64_t x, int64_t y, int64_t outer, int64_t n, int64_t inner);      // in place ok
void log_softmax(int dtype, int64_t x, int64_t y, int64_t outer, int64_t n, int64_t inner);  // in place ok
// From the forward's result y and the gradient g of y. dx may be g.
void softmax_backward(int dtype, int64_t y, int64_t g, int64_t dx, int64_t outer, int64_t n, int64_t inner);
void log_softmax_backward(int dtype, int64_t y, int64_t g, int64_t dx, int64_t outer, int64_t n, int64_t inner);
// out [outer, inner]. All -inf gives -inf.
void logsumexp(int dtype, int64_t x, int64_t out, int64_t outer, int64_t n, int64_t inner);

// ---- cross entropy of logits [rows, classes] and targets i64 [rows] -------------------------------------------------

// weight [classes] of the compute dtype (0 ok). The loss of a row with target t and logp = log_softmax(row):
//   -(1 - smoothing) * weight[t] * logp[t]  -  smoothing / classes * sum_c weight[c] * logp[c]
// Rows whose target is ignore_index have loss 0 and no weight. reduction, the number
// that reduction_code gives: none (result [rows]), mean (sum of losses
// / sum of the weights of the targets, NaN over no rows), sum (result is one element), of the compute dtype. lse (compute
// dtype [rows]) and total_weight (one f64) are for the backward (0 ok). Returns -1, or the first row with a target outside of
// [0, classes): then nothing was written, or another thread writes the targets.
int64_t cross_entropy(int dtype, int64_t logits, int64_t targets, int64_t weight, int64_t rows, int64_t classes,
                      int64_t ignore_index, double smoothing, int reduction, int64_t result, int64_t lse,
                      int64_t total_weight);
// grad: the gradient of the result, of the compute dtype: [rows] for reduction none, else one element. dlogits may be the
// logits. Returns as above.
int64_t cross_entropy_backward(int dtype, int64_t logits, int64_t targets, int64_t weight, int64_t rows, int64_t classes,
                            int64_t ignore_index, double smoothing, int reduction, int64_t lse, int64_t total_weight,
                            int64_t grad, int64_t dlogits);

// ---- normalisation over the last dimension of [rows, n] -------------------------------------------------------------

// weight, bias [n] (0 ok); mean, rstd of the compute dtype [rows] (0 ok).
void layer_norm(int dtype, int64_t x, int64_t weight, int64_t bias, int64_t rows, int64_t n, double eps, int64_t y,
                int64_t mean, int64_t rstd);
// dx [rows, n], dweight [n], dbias [n]: each 0 ok.
void layer_norm_backward(int dtype, int64_t dy, int64_t x, int64_t mean, int64_t rstd, int64_t weight, int64_t rows,
                         int64_t n, int64_t dx, int64_t dweight, int64_t dbias);
// y = x * rstd * weight, rstd = 1 / sqrt(mean(x²) + eps).
void rms_norm(int dtype, int64_t x, int64_t weight, int64_t rows, int64_t n, double eps, int64_t y, int64_t rstd);
void rms_norm_backward(int dtype, int64_t dy, int64_t x, int64_t rstd, int64_t weight, int64_t rows, int64_t n,
                       int64_t dx, int64_t dweight);

// ---- by position ----------------------------------------------------------------------------------------------------

// out = x [matrices, rows, columns] with zeros above (lower) or below the diagonal; elements of 1, 2, 4 or 8 bytes.
void triangle(int element_size, int64_t x, int64_t matrices, int64_t rows, int64_t columns, int64_t diagonal, int lower,
              int64_t out);
// out[i] = start + i * step, any dtype; computed in int64 and in double.
void arange(int dtype, int64_t start, int64_t step, int64_t n, int64_t out);
void arange_real(int dtype, double start, double step, int64_t n, int64_t out);
// n elements from start to end, both included; any dtype.
void linspace(int dtype, double start, double end, int64_t n, int64_t out);
// out [n, classes] of any dtype: 1 at the index, else 0. The indices as below, checked.
void one_hot(int dtype, int index_dtype, int64_t indices, int64_t n, int64_t classes, int64_t out);
// -weight[target] * log_probabilities[row, target], otherwise as cross_entropy; targets i64.
int64_t nll_loss(int dtype, int64_t log_probabilities, int64_t targets, int64_t weight, int64_t rows, int64_t classes,
                 int64_t ignore_index, int reduction, int64_t result);
int64_t nll_loss_backward(int dtype, int64_t targets, int64_t weight, int64_t rows, int64_t classes, int64_t ignore_index,
                       int reduction, int64_t grad, int64_t out);

// ---- indexing -------------------------------------------------------------------------------------------------------

// Indices are i32 or i64 (index_dtype 4 or 5); negative ones count from the end. Check them before anything is written:
// this returns the first position whose index is outside of [-size, size), or -1. Kernels look again at each, for another
// thread may have written it since: what is out of range is left out (0 where it would be read), and its position is what
// they return; -1 if there was none.
int64_t check_indices(int index_dtype, int64_t indices, int64_t count, int64_t size);
// out[o, j, :] = x[o, indices[j], :] for x [outer, dim, inner], indices [k], out [outer, k, inner]; elements of 1, 2, 4
// or 8 bytes. An embedding is outer = 1, dim = vocabulary, inner = width.
int64_t index_select(int element_size, int64_t x, int index_dtype, int64_t indices, int64_t outer, int64_t dim,
                  int64_t inner, int64_t k, int64_t out);
// out[o, indices[j], :] += src[o, j, :], in the order of j; out [outer, dim, inner] is added to. Also i32 and i64.
// Positions whose index is `skip` add nothing (pass -1 for none; negative indices are never skipped).
int64_t index_add(int dtype, int64_t src, int index_dtype, int64_t indices, int64_t outer, int64_t dim, int64_t inner,
               int64_t k, int64_t skip, int64_t out);
// out[o, j, i] = x[o, indices[o, j, i], i] for x [outer, dim, inner], indices and out [outer, k, inner].
int64_t gather(int element_size, int64_t x, int index_dtype, int64_t indices, int64_t outer, int64_t dim, int64_t inner,
            int64_t k, int64_t out);
// out[o, indices[o, j, i], i] = src[o, j, i]; the last j wins.
int64_t scatter(int element_size, int64_t src, int index_dtype, int64_t indices, int64_t outer, int64_t dim, int64_t inner,
             int64_t k, int64_t out);
// out[o, indices[o, j, i], i] += src[o, j, i], in the order of j. Also i32 and i64.
int64_t scatter_add(int dtype, int64_t src, int index_dtype, int64_t indices, int64_t outer, int64_t dim, int64_t inner,
                 int64_t k, int64_t out);

// ---- matrix multiplication ------------------------------------------------------------------------------------------

// Addresses of cblas_sgemm, cblas_dgemm, openblas_set_num_threads. BLAS then runs the products from blas_threshold on,
// in tiles of ours, one thread a tile. On x86-64 that is none, our own kernels being the better ones: there BLAS need
// not be loaded at all.
void blas_init(int64_t sgemm, int64_t dgemm, int64_t set_num_threads);
// The smallest m*n*k for which BLAS is asked; < 0: never. Returns the former value. For measurements.
int64_t blas_threshold(int64_t multiply_adds);

// C = alpha * op(A)·op(B) + beta * C, row-major: op(A) [m, k], op(B) [k, n], C [m, n]; trans_x != 0: stored transposed.
// C is not read when beta is 0. k = 0 gives beta * C.
void gemm(int dtype, int trans_a, int trans_b, int64_t m, int64_t n, int64_t k, double alpha, int64_t a, int64_t lda,
          int64_t b, int64_t ldb, double beta, int64_t c, int64_t ldc);
// y [rows, out] = x [rows, in] · weight [out, in]ᵀ + bias [out] (0 ok).
void linear(int dtype, int64_t x, int64_t weight, int64_t bias, int64_t rows, int64_t in, int64_t out, int64_t y);
// One product a batch entry. Entry i of A starts at a + offsets_a[i] elements where offsets_a (int64 [batch]) is given,
// else at a + i * stride_a; B alike; C at c + i * stride_c. Strides may be 0 for A and B.
void gemm_batched(int dtype, int trans_a, int trans_b, int64_t batch, int64_t m, int64_t n, int64_t k, double alpha,
                  int64_t a, int64_t lda, int64_t stride_a, int64_t offsets_a, int64_t b, int64_t ldb, int64_t stride_b,
                  int64_t offsets_b, double beta, int64_t c, int64_t ldc, int64_t stride_c);

// ---- attention ------------------------------------------------------------------------------------------------------

// o = softmax(scale * q·kᵀ + mask)·v for q, o [B, H, Tq, D] and k, v [B, H, Tk, D]; memory linear in T. `shape` is the
// address of int64 B, H, Tq, Tk, D; `strides` that of (b, h, t) element strides of q, k, v, o; the last dimension is
// contiguous. causal != 0: query i sees keys j <= i + Tk - Tq. lse: compute dtype [B, H, Tq] (0 ok). A query
// that sees no key gives 0, with lse = -inf.
void attention(int dtype, int64_t shape, int64_t strides, double scale, int causal, int64_t q, int64_t k, int64_t v,
               int64_t o, int64_t lse);
// strides: (b, h, t) of q, k, v, o, do, dq, dk, dv.
void attention_backward(int dtype, int64_t shape, int64_t strides, double scale, int causal, int64_t q, int64_t k,
                        int64_t v, int64_t o, int64_t lse, int64_t grad, int64_t dq, int64_t dk, int64_t dv);

// ---- convolution and pooling ----------------------------------------------------------------------------------------

// `shape`: address of int64 N, C, H, W, O, kh, kw, stride h w, padding h w, dilation h w, groups, OH, OW.
// x [N, C, H, W], weight [O, C/groups, kh, kw], bias [O] (0 ok), y [N, O, OH, OW].
void conv2d(int dtype, int64_t shape, int64_t x, int64_t weight, int64_t bias, int64_t y);
// dx, dweight, dbias: each 0 ok. x is needed for dweight, weight for dx.
void conv2d_backward(int dtype, int64_t shape, int64_t x, int64_t weight, int64_t dy, int64_t dx, int64_t dweight,
                     int64_t dbias);
// `shape`: address of int64 planes (N*C), H, W, kh, kw, stride h w, padding h w, dilation h w, OH, OW.
// indices i64 [planes, OH, OW] (0 ok): position in the H*W plane; the first of equals, a NaN wins.
void max_pool2d(int dtype, int64_t shape, int64_t x, int64_t y, int64_t indices);
void max_pool2d_backward(int dtype, int64_t shape, int64_t dy, int64_t indices, int64_t dx);
void avg_pool2d(int dtype, int64_t shape, int count_include_pad, int64_t x, int64_t y);  // dilation must be 1
void avg_pool2d_backward(int dtype, int64_t shape, int count_include_pad, int64_t dy, int64_t dx);

// ---- random numbers: Philox4x32-10, specified in dev.merapi.random.Philox -------------------------------------------

// `offset` counts blocks of four 32-bit lanes. f64 uniforms, f64 normals and integers of a range above 2^32 take a
// block for 2 elements; all others a block for 4.
void random_bits(int64_t seed, int64_t offset, int64_t n, int64_t out);  // u32
void random_uniform(int dtype, int64_t seed, int64_t offset, int64_t n, double low, double high, int64_t out);
void random_normal(int dtype, int64_t seed, int64_t offset, int64_t n, double mean, double deviation, int64_t out);
// low + [0, range), range as an unsigned 64-bit number, 0 for 2^64. Integers and bool.
void random_integers(int dtype, int64_t seed, int64_t offset, int64_t n, int64_t low, int64_t range, int64_t out);
// out byte = lane >= threshold, threshold in [0, 2^32]: the probability of 1 is 1 - threshold / 2^32.
void random_mask(int64_t seed, int64_t offset, int64_t n, int64_t threshold, int64_t out);
// mask as random_mask; y = mask ? x * scale : 0 (in place ok).
void dropout(int dtype, int64_t x, int64_t seed, int64_t offset, int64_t n, int64_t threshold, double scale, int64_t y,
             int64_t mask);
void dropout_backward(int dtype, int64_t grad, int64_t mask, int64_t n, double scale, int64_t dx);

// ---- optimisers -----------------------------------------------------------------------------------------------------

// `list`: int64 [count][7]: addresses of parameter, gradient, state m, state v, master and the parameter's count of steps
// (int64), then the number of elements.
// dtype is that of parameters and gradients; states and masters have the compute dtype. Where there is a master (0 ok),
// that is what is stepped, and the parameter becomes its rounding. Counts are one more afterwards. lr, grad_scale (0 ok:
// 1): addresses of doubles; the gradient is multiplied by grad_scale. skip (0 ok): address of a float; where it is not 0
// nothing changes.
// weight_decay: decoupled (AdamW) or added to the gradient.
void adam(int dtype, int64_t list, int64_t count, double beta1, double beta2, double eps, double weight_decay,
          int decoupled, int64_t lr, int64_t grad_scale, int64_t skip);
// m is the momentum buffer (0 ok when momentum is 0); at a parameter's first step it becomes the gradient.
void sgd(int dtype, int64_t list, int64_t count, double momentum, double dampening, int nesterov, double weight_decay,
         int64_t lr, int64_t grad_scale, int64_t skip);
// The L2 norm of all gradients in the list and of a vector with norm `before` (double). norm, scale (doubles) and flag
// (float), each 0 ok: scale = min(1, max_norm / (norm + 1e-6)), flag = 1 where a gradient is infinite or NaN, else 0.
void grad_norm(int dtype, int64_t list, int64_t count, double max_norm, int64_t before, int64_t norm, int64_t scale,
               int64_t flag);
// Multiplies all gradients in the list by a double.
void scale_grads(int dtype, int64_t list, int64_t count, int64_t scale);

// ---- scans and orders: every dtype ----------------------------------------------------------------------------------

// cumsum over the middle dimension of [outer, n, inner]: floats and i32, i64 (others: convert before).
void cumsum(int dtype, int64_t x, int64_t outer, int64_t n, int64_t inner, int64_t y);
// Sorts rows of [rows, n], stable. NaN counts as the largest number. values, indices (i64): each 0 ok.
void sort(int dtype, int64_t x, int64_t rows, int64_t n, int descending, int64_t values, int64_t indices);
// The k largest (or smallest) of each row, in order; the first of equals first.
void topk(int dtype, int64_t x, int64_t rows, int64_t n, int64_t k, int largest, int64_t values, int64_t indices);
int64_t nonzero_count(int dtype, int64_t x, int64_t n);
// Writes coordinates i64 [count, ndim] in row-major order; shape: address of int64 [ndim].
void nonzero(int dtype, int64_t x, int64_t ndim, int64_t shape, int64_t out);

}  // namespace abi
}  // namespace merapi
