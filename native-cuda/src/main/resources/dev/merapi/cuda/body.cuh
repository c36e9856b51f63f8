// SPDX-License-Identifier: Apache-2.0
// What stands before the body of a kernel: tensors, lists and arrays as it sees them, and reductions over a row.

// A tensor; each field is 8 bytes.
template <class T, bool Dense>
struct View {
    T* data;
    long long numel, rank;
    struct {
        long long size, stride;
    } dims[8];
    MERAPI_F long long size(int d) const { return dims[d < 0 ? d + (int)rank : d].size; }
    MERAPI_F explicit operator bool() const { return data != nullptr; }
    MERAPI_F T* at(long long i) const {
        if (Dense) return data + i;
        long long offset = 0;
        for (int d = (int)rank - 1; d >= 0; d--) {
            offset += i % dims[d].size * dims[d].stride;
            i /= dims[d].size;
        }
        return data + offset;
    }
};
template <class T, bool Dense>
struct Input : View<T, Dense> {
    MERAPI_F auto operator[](long long i) const { return merapi::rd(*this->at(i)); }
};
template <class T>
struct Element {
    typedef decltype(merapi::rd(T())) Value;
    T* p;
    MERAPI_F operator Value() const { return merapi::rd(*p); }
    MERAPI_F const Element& operator=(Value v) const {
        merapi::wr(*p, v);
        return *this;
    }
    MERAPI_F const Element& operator=(const Element& e) const { return *this = (Value)e; }
    MERAPI_F const Element& operator+=(Value v) const { return *this = (Value) * this + v; }
    MERAPI_F const Element& operator-=(Value v) const { return *this = (Value) * this - v; }
    MERAPI_F const Element& operator*=(Value v) const { return *this = (Value) * this * v; }
    MERAPI_F const Element& operator/=(Value v) const { return *this = (Value) * this / v; }
};
template <class T, bool Dense>
struct Output : View<T, Dense> {
    MERAPI_F Element<T> operator[](long long i) const { return Element<T>{this->at(i)}; }
};

// An output that nobody wants: what is written to it goes nowhere.
struct Unwanted {
    long long numel = 0, rank = 0;
    struct Nothing {
        template <class V>
        MERAPI_F const Nothing& operator=(const V&) const {
            return *this;
        }
        template <class V>
        MERAPI_F const Nothing& operator+=(const V&) const {
            return *this;
        }
        template <class V>
        MERAPI_F const Nothing& operator-=(const V&) const {
            return *this;
        }
        template <class V>
        MERAPI_F const Nothing& operator*=(const V&) const {
            return *this;
        }
        template <class V>
        MERAPI_F const Nothing& operator/=(const V&) const {
            return *this;
        }
    };
    MERAPI_F explicit operator bool() const { return false; }
    MERAPI_F Nothing operator[](long long) const { return {}; }
};

template <class T, int N>
struct List {
    static constexpr int count = N;
    T items[N > 0 ? N : 1];
    MERAPI_F const T& operator[](int k) const { return items[k]; }
};

// ---------------------------------------------------------------- over the threads of a row: all of them call, all of
// them get the result
struct Add {
    template <class T>
    MERAPI_F T operator()(T a, T b) const {
        return a + b;
    }
};
struct Largest {
    template <class T>
    MERAPI_F T operator()(T a, T b) const {
        return merapi::op_max(a, b);
    }
};
struct Smallest {
    template <class T>
    MERAPI_F T operator()(T a, T b) const {
        return merapi::op_min(a, b);
    }
};
template <class F, class T>
MERAPI_F T over_warp(F f, T v) {
    for (int o = 16; o > 0; o >>= 1) v = f(v, __shfl_xor_sync(0xffffffffu, v, o));
    return v;
}
template <class F, class T>
__device__ T over_block(F f, T v) {
    __shared__ T parts[32];
    v = over_warp(f, v);
    __syncthreads();  // what the last call found may still be read
    if ((threadIdx.x & 31) == 0) parts[threadIdx.x >> 5] = v;
    __syncthreads();
    v = parts[0];
    for (int w = 1; w < (int)blockDim.x >> 5; w++) v = f(v, parts[w]);
    return v;
}
// What row_sum and its like are in a body.
template <class F, bool Warp>
struct OverRow {
    template <class T>
    MERAPI_F auto operator()(T v) const {
        if constexpr (Warp)
            return over_warp(F(), +v);
        else
            return over_block(F(), +v);
    }
};
