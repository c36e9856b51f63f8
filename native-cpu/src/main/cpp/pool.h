// SPDX-License-Identifier: Apache-2.0
//
// The one thread pool of the process: our kernels and OpenBLAS both run on it.
//
// Work is cut by size, never by thread count: chunk k covers [k*grain, min(n, (k+1)*grain)), whoever runs it, and the
// serial path walks the same chunks. So a kernel that keeps one partial result a chunk is bit-stable for any number of
// threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace merapi {

using ChunkFn = void (*)(void* context, int64_t begin, int64_t end);

// Runs fn over [0, n) in chunks of `grain`; returns when all of them are done. The caller takes part. Runs serially on
// the caller when there is one chunk, when called from inside a chunk, or when another thread holds the pool.
void parallel_for_raw(int64_t n, int64_t grain, ChunkFn fn, void* context);

// Elements a chunk of cheap pointwise work: below it, waking a thread costs more than it brings.
constexpr int64_t kGrain = 32768;

// The number of threads that may work at the same time, the caller included. Takes effect at the next parallel_for. At
// first it is the machine's number of processors; Java sets what the JVM counts, which knows of containers' quotas too.
void set_num_threads(int threads);
int num_threads();

// True inside a chunk: parallel_for would run serially here.
bool in_parallel_region();

// Hand this to openblas_set_threads_callback_function. OpenBLAS's jobs wait for each other, so each of them gets a
// thread of its own at the same time, whatever the pool is doing.
void openblas_callback(int sync, void (*dojob)(int thread_num, void* jobdata, int dojob_data), int numjobs,
                       size_t jobdata_elsize, void* jobdata, int dojob_data);

namespace detail {
template <class F>
void call_chunk(void* context, int64_t begin, int64_t end) {
    (*static_cast<F*>(context))(begin, end);
}
}  // namespace detail

// fn(int64_t begin, int64_t end). What it throws ends the work and reaches the caller.
template <class F>
inline void parallel_for(int64_t n, int64_t grain, F&& fn) {
    if (n <= 0) return;
    if (n <= grain) {
        fn(int64_t{0}, n);
        return;
    }
    using Fn = typename std::remove_reference<F>::type;
    parallel_for_raw(n, grain, &detail::call_chunk<Fn>, const_cast<void*>(static_cast<const void*>(&fn)));
}

}  // namespace merapi
