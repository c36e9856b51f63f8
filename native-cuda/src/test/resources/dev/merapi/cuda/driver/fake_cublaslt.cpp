// SPDX-License-Identifier: Apache-2.0
// A cuBLASLt of loops on the host: it takes layouts, transposes, batches and epilogues at their word, and answers like
// the real one, with a status, to what does not fit.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <vector>

#include <unistd.h>

namespace {

enum { kInvalid = 7, kInternal = 14, kUnsupported = 15 };

struct Attributes {
    std::map<int, std::vector<unsigned char>> values;
    int set(int attribute, const void* value, size_t bytes, size_t wanted) {
        if (wanted == 0 || bytes != wanted) return kInvalid;
        const unsigned char* p = static_cast<const unsigned char*>(value);
        values[attribute].assign(p, p + bytes);
        return 0;
    }
    template <class T>
    T get(int attribute, T otherwise) const {
        auto found = values.find(attribute);
        if (found == values.end()) return otherwise;
        T value;
        std::memcpy(&value, found->second.data(), sizeof value);
        return value;
    }
};
struct Operation : Attributes {
    int compute, scale;
};
struct Layout : Attributes {
    int type;
    int64_t rows, columns, leading;
    int64_t count() const { return get<int32_t>(5, 1); }
    int64_t at(int64_t z, int64_t r, int64_t c) const {
        return z * get<int64_t>(6, 0) + (get<int32_t>(1, 0) == 1 ? r * leading + c : c * leading + r);
    }
    bool good() const { return leading >= (get<int32_t>(1, 0) == 1 ? columns : rows) && rows > 0 && columns > 0; }
};
struct Preference : Attributes {};
struct Algorithm {
    uint64_t data[8];
};
struct Heuristic {
    Algorithm algorithm;
    size_t workspace;
    int32_t state;
    float waves;
    int32_t reserved[4];
};
constexpr uint64_t kMagic = 0x6d6572617069;

float real(uint32_t bits) {
    float f;
    std::memcpy(&f, &bits, sizeof f);
    return f;
}
uint32_t raw(float f) {
    uint32_t bits;
    std::memcpy(&bits, &f, sizeof bits);
    return bits;
}
double read(const void* p, int type, int64_t at, bool tf32) {
    switch (type) {
        case 0: {
            float f = static_cast<const float*>(p)[at];
            return tf32 ? real((raw(f) + 0x1000) & ~0x1fffu) : f;
        }
        case 1:
            return static_cast<const double*>(p)[at];
        case 2:
            return static_cast<float>(static_cast<const _Float16*>(p)[at]);
        default:
            return real(uint32_t{static_cast<const uint16_t*>(p)[at]} << 16);
    }
}
void write(void* p, int type, int64_t at, double v) {
    switch (type) {
        case 0:
            static_cast<float*>(p)[at] = static_cast<float>(v);
            break;
        case 1:
            static_cast<double*>(p)[at] = v;
            break;
        case 2:
            static_cast<_Float16*>(p)[at] = static_cast<_Float16>(static_cast<float>(v));
            break;
        default: {
            uint32_t u = raw(static_cast<float>(v));
            static_cast<uint16_t*>(p)[at] = static_cast<uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16);
        }
    }
}

bool fits(const Operation& o, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
    bool ta = o.get<int32_t>(3, 0) == 1, tb = o.get<int32_t>(4, 0) == 1;
    int64_t m = ta ? a.columns : a.rows, k = ta ? a.rows : a.columns;
    bool types = a.type == b.type && a.type == d.type && c.type == d.type;
    bool sums = a.type == 1 ? o.compute == 70 && o.scale == 1 : (o.compute == 68 || o.compute == 77) && o.scale == 0;
    return types && sums && a.good() && b.good() && c.good() && d.good() && (tb ? b.columns : b.rows) == k &&
           d.rows == m && d.columns == (tb ? b.rows : b.columns) && a.count() == d.count() && b.count() == d.count() &&
           (o.compute != 77 || a.type == 0);
}

// What an epilogue wants: a vector, and with a GELU a matrix like the result, in lines of a multiple of 8; the gradient
// of a GELU wants the matrix alone.
bool good(const Operation& o, const Layout& d) {
    uint32_t epilogue = o.get<uint32_t>(7, 1);
    bool gelu = epilogue == 164 || epilogue == 192 || epilogue == 208;
    if (epilogue != 1 && epilogue != 4 && epilogue != 512 && !gelu) return false;
    if (epilogue != 1 && (o.get<uint64_t>(8, 0) == 0) != (epilogue == 192)) return false;
    int64_t leading = o.get<int64_t>(12, 0);
    return !gelu || (o.get<uint64_t>(11, 0) != 0 && leading % 8 == 0 && leading >= d.rows && d.count() == 1);
}

constexpr double kRoot = 0.79788456080286535588, kCube = 0.044715;  // sqrt(2/pi)
double gelu(double x) { return 0.5 * x * (1 + std::tanh(kRoot * (x + kCube * x * x * x))); }
double gelu_slope(double x) {
    double t = std::tanh(kRoot * (x + kCube * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * kRoot * (1 + 3 * kCube * x * x);
}

// Handles made, heuristics asked, products, objects alive, stream and algorithm of the last product; the handle is their
// address.
int calls[6];
int& last_stream = calls[4];

}  // namespace

extern "C" {
size_t cublasLtGetVersion() { return 130201; }
int cublasLtCreate(void** handle) {
    calls[0]++;
    *handle = calls;
    return 0;
}
int cublasLtMatmulDescCreate(void** result, int compute, int scale) {
    Operation* o = new Operation;
    o->compute = compute;
    o->scale = scale;
    *result = o;
    calls[3]++;
    return 0;
}
int cublasLtMatmulDescSetAttribute(void* o, int attribute, const void* value, size_t bytes) {
    size_t wanted = attribute == 3 || attribute == 4 || attribute == 7     ? 4
                    : attribute == 8 || attribute == 11 || attribute == 12 ? 8
                                                                           : 0;
    return static_cast<Operation*>(o)->set(attribute, value, bytes, wanted);
}
int cublasLtMatmulDescDestroy(void* o) {
    calls[3]--;
    delete static_cast<Operation*>(o);
    return 0;
}
int cublasLtMatrixLayoutCreate(void** result, int type, uint64_t rows, uint64_t columns, int64_t leading) {
    Layout* l = new Layout;
    l->type = type;
    l->rows = static_cast<int64_t>(rows);
    l->columns = static_cast<int64_t>(columns);
    l->leading = leading;
    *result = l;
    calls[3]++;
    return 0;
}
int cublasLtMatrixLayoutSetAttribute(void* l, int attribute, const void* value, size_t bytes) {
    size_t wanted = attribute == 1 || attribute == 5 ? 4 : attribute == 6 ? 8 : 0;
    return static_cast<Layout*>(l)->set(attribute, value, bytes, wanted);
}
int cublasLtMatrixLayoutDestroy(void* l) {
    calls[3]--;
    delete static_cast<Layout*>(l);
    return 0;
}
int cublasLtMatmulPreferenceCreate(void** result) {
    calls[3]++;
    *result = new Preference;
    return 0;
}
int cublasLtMatmulPreferenceSetAttribute(void* p, int attribute, const void* value, size_t bytes) {
    size_t wanted = attribute == 1 ? 8 : attribute >= 5 && attribute <= 8 ? 4 : 0;
    return static_cast<Preference*>(p)->set(attribute, value, bytes, wanted);
}
int cublasLtMatmulPreferenceDestroy(void* p) {
    calls[3]--;
    delete static_cast<Preference*>(p);
    return 0;
}
int cublasLtMatmulAlgoGetHeuristic(void* handle, void* o, void* a, void* b, void* c, void* d, void* preference,
                                   int requested, Heuristic* result, int* found) {
    calls[1]++;
    *found = 0;
    const Layout& out = *static_cast<Layout*>(d);
    if (handle != calls || requested < 1 ||
        !fits(*static_cast<Operation*>(o), *static_cast<Layout*>(a), *static_cast<Layout*>(b), *static_cast<Layout*>(c),
              out)) {
        return kInvalid;
    }
    const Operation& operation = *static_cast<Operation*>(o);
    if (!good(operation, out)) return kInvalid;
    if (out.rows == 13) return kUnsupported;  // so that somebody else has to do it
    if (operation.get<uint32_t>(7, 1) % 512 > 4 && out.type < 2) return kUnsupported;
    const Preference& p = *static_cast<Preference*>(preference);
    // The second of several is none for this device, and the fourth is the fastest.
    *found = requested < 5 ? 1 : 5;
    for (int n = 0; n < *found; n++) {
        Heuristic& h = result[n];
        std::memset(&h, 0, sizeof h);
        h.algorithm.data[0] = kMagic;
        for (int i = 0; i < 4; i++) h.algorithm.data[1 + i] = p.get<uint32_t>(5 + i, 256);
        h.workspace = h.algorithm.data[5] = p.get<uint64_t>(1, 0) / static_cast<uint64_t>(n + 2);
        h.algorithm.data[6] = static_cast<uint64_t>(n);
        h.algorithm.data[7] = *found > 1 && n != 3 ? 2000 : 0;
        h.state = n == 1 ? kUnsupported : 0;
    }
    return 0;
}
int cublasLtMatmul(void* handle, void* operation, const void* alpha, const void* a, void* la, const void* b, void* lb,
                   const void* beta, const void* c, void* lc, void* d, void* ld, const Algorithm* algorithm,
                   void* workspace, size_t bytes, void* stream) {
    calls[2]++;
    const Operation& o = *static_cast<Operation*>(operation);
    const Layout &A = *static_cast<Layout*>(la), &B = *static_cast<Layout*>(lb), &C = *static_cast<Layout*>(lc),
                 &D = *static_cast<Layout*>(ld);
    const void* pointers[4] = {a, b, c, d};
    if (handle != calls || algorithm->data[0] != kMagic || !fits(o, A, B, C, D) || bytes < algorithm->data[5] ||
        (bytes > 0 && workspace == nullptr) || reinterpret_cast<intptr_t>(stream) < 4711) {
        return kInvalid;
    }
    if (D.rows == 11) return kInternal;  // it only says so when it is too late
    if (algorithm->data[7] > 0) usleep(static_cast<useconds_t>(algorithm->data[7]));
    calls[5] = static_cast<int>(algorithm->data[6]);
    for (int i = 0; i < 4; i++) {
        if (reinterpret_cast<uintptr_t>(pointers[i]) % algorithm->data[1 + i] != 0) return kInvalid;
    }
    std::memset(workspace, 0xff, bytes);
    last_stream = static_cast<int>(reinterpret_cast<intptr_t>(stream));
    bool ta = o.get<int32_t>(3, 0) == 1, tb = o.get<int32_t>(4, 0) == 1, tf32 = o.compute == 77;
    uint32_t epilogue = o.get<uint32_t>(7, 1);
    const void* bias = reinterpret_cast<const void*>(o.get<uint64_t>(8, 0));
    void* aux = reinterpret_cast<void*>(o.get<uint64_t>(11, 0));
    int64_t aux_leading = o.get<int64_t>(12, 0);
    if (!good(o, D)) return kInvalid;
    std::vector<double> columns(epilogue == 208 ? static_cast<size_t>(D.rows) : 0);
    double scale = o.scale == 1 ? *static_cast<const double*>(alpha) : *static_cast<const float*>(alpha);
    double keep = o.scale == 1 ? *static_cast<const double*>(beta) : *static_cast<const float*>(beta);
    int64_t depth = ta ? A.rows : A.columns;
    // The gradient of a bias: a number for each column of the result, the sum of what b has there.
    for (int64_t j = 0; epilogue == 512 && j < D.columns; j++) {
        double sum = 0;
        for (int64_t k = 0; k < depth; k++) sum += read(b, B.type, tb ? B.at(0, j, k) : B.at(0, k, j), false);
        write(const_cast<void*>(bias), D.type, j, sum);
    }
    for (int64_t z = 0; z < D.count(); z++) {
        for (int64_t i = 0; i < D.rows; i++) {
            for (int64_t j = 0; j < D.columns; j++) {
                double sum = 0;
                for (int64_t k = 0; k < depth; k++) {
                    sum += read(a, A.type, ta ? A.at(z, k, i) : A.at(z, i, k), tf32) *
                           read(b, B.type, tb ? B.at(z, j, k) : B.at(z, k, j), tf32);
                }
                sum *= scale;
                if (keep != 0) sum += keep * read(c, C.type, C.at(z, i, j), false);
                if (epilogue == 4 || epilogue == 164) sum += read(bias, D.type, i, false);
                if (epilogue == 164) {
                    write(aux, D.type, j * aux_leading + i, sum);
                    sum = gelu(sum);
                }
                if (epilogue == 192 || epilogue == 208) {
                    sum *= gelu_slope(read(aux, D.type, j * aux_leading + i, false));
                }
                if (epilogue == 208) columns[static_cast<size_t>(i)] += sum;
                write(d, D.type, D.at(z, i, j), sum);
            }
        }
    }
    for (size_t i = 0; i < columns.size(); i++) {
        write(const_cast<void*>(bias), D.type, static_cast<int64_t>(i), columns[i]);
    }
    return 0;
}
}
