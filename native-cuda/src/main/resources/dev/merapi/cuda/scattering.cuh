// SPDX-License-Identifier: Apache-2.0
// Values that meet at an element, reduced in the order of the source. T: storage, I: type of the indices, ACC: what is
// computed in. Shapes are seen as [outer, n, inner] around the indexed dimension; what an index out of range would write
// is skipped and told.
namespace scattering {
using namespace merapi;

enum Reduction { kSum, kProd, kMean, kAmax, kAmin };

MERAPI_F ACC join(ACC a, ACC b, int how) {
    return how == kProd ? op_mul(a, b) : how == kAmax ? op_max(a, b) : how == kAmin ? op_min(a, b) : op_add(a, b);
}
template <class X>
MERAPI_F X mean(X sum, i64 count) {
    return sum / X(count);
}
MERAPI_F i64 mean(i64 sum, i64 count) { return sum / count - (sum % count < 0); }
}  // namespace scattering

// Which element of x each source is for, `all` of them if its index is out of range.
extern "C" __global__ void scatter_targets(const I* index, unsigned int* keys, long long count, long long n,
                                           long long inner, long long size, long long all, merapi::Fault fault) {
    using namespace scattering;
    for (i64 e = (i64)blockIdx.x * blockDim.x + threadIdx.x; e < count; e += (i64)gridDim.x * blockDim.x) {
        const i64 chosen = index[e], k = chosen < 0 ? chosen + size : chosen;
        const bool good = k >= 0 && k < size;
        if (!good) outside(fault, chosen, e, size, 0);
        keys[e] = u32(good ? (e / inner / n * size + k) * inner + e % inner : all);
    }
}

// x holds its own values. Keys are sorted, stably, `places` is where each stood: the thread whose key is the first of its
// kind reduces all of them.
extern "C" __global__ void scatter_reduce(T* x, const unsigned int* keys, const unsigned int* places, const T* source,
                                          long long count, long long all, int how, int self) {
    using namespace scattering;
    for (i64 e = (i64)blockIdx.x * blockDim.x + threadIdx.x; e < count; e += (i64)gridDim.x * blockDim.x) {
        const u32 key = keys[e];
        if (key == all || (e > 0 && keys[e - 1] == key)) continue;
        ACC sum = ACC(rd(self ? x[key] : source[places[e]]));
        i64 end = self ? e : e + 1;
        for (; end < count && keys[end] == key; end++) sum = join(sum, ACC(rd(source[places[end]])), how);
        wr(x[key], how == kMean ? mean(sum, end - e + (self ? 1 : 0)) : sum);
    }
}
