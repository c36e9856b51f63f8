// SPDX-License-Identifier: Apache-2.0
//
// Indices as kernels use them. Another thread may write the tensor of indices at any time, so each use reads an index
// once, looks whether that value is in range, and forms an address of that value only.
#pragma once

#include <atomic>
#include <cstdint>

namespace merapi {

// Some position whose index was out of range when it was used; -1 for none. Kernels return it.
class Outside {
  public:
    void tell(int64_t position) { position_.store(position, std::memory_order_relaxed); }
    int64_t position() const { return position_.load(std::memory_order_relaxed); }

  private:
    std::atomic<int64_t> position_{-1};
};

template <class I>
inline int64_t read_once(const I* p) {
    return static_cast<int64_t>(__atomic_load_n(p, __ATOMIC_RELAXED));
}

// The index at a position as it counts from the start, or -1, which is told, if it is not in [-size, size).
template <class I>
inline int64_t index_once(const I* indices, int64_t position, int64_t size, Outside& outside) {
    int64_t i = read_once(indices + position);
    if (i < 0) i += size;
    if (static_cast<uint64_t>(i) < static_cast<uint64_t>(size)) return i;
    outside.tell(position);
    return -1;
}

// The class at a row; -1 for rows to be left out, and, which is told, for what is not in [0, classes).
inline int64_t class_once(const int64_t* targets, int64_t row, int64_t classes, int64_t ignore, Outside& outside) {
    const int64_t target = read_once(targets + row);
    if (target == ignore) return -1;
    if (static_cast<uint64_t>(target) < static_cast<uint64_t>(classes)) return target;
    outside.tell(row);
    return -1;
}

// The first row that has neither a class nor is left out, or -1: asked before anything is written.
inline int64_t first_outside(const int64_t* targets, int64_t rows, int64_t classes, int64_t ignore) {
    Outside outside;
    for (int64_t r = 0; r < rows; r++) {
        if (class_once(targets, r, classes, ignore, outside) < 0 && outside.position() >= 0) return r;
    }
    return -1;
}

}  // namespace merapi
