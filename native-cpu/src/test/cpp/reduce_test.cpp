// SPDX-License-Identifier: Apache-2.0
//
// Reductions against long double, over layouts (kept and reduced dims in any order, strided, broadcast), types, NaN,
// ties, empty and very long inputs; and that results are the same for every thread count.
#include "harness.h"

namespace {

Random rng;

struct Problem {
    std::vector<int64_t> size;  // kept, then reduced
    size_t kept = 0;
    std::vector<int64_t> stride;  // elements, of the input
    int64_t offset = 0, span = 1;
};

Problem random_problem(int trial) {
    Problem q;
    size_t nd = 1 + rng.next() % 4;
    q.kept = rng.next() % (nd + 1);
    int64_t n = 1;
    for (size_t d = 0; d < nd; d++) {
        int64_t s = static_cast<int64_t>(1 + rng.next() % (nd <= 2 ? 700 : 25));
        if (trial % 50 == 7 && d == nd - 1) s = 150000;  // several pieces
        if (trial % 50 == 9 && d == nd - 1 && nd > 1) s = 3000;
        if (rng.next() % 5 == 0) s = 1;
        if (n * s > 4000000) s = 1;
        n *= s;
        q.size.push_back(s);
    }
    std::vector<size_t> order(nd);
    for (size_t i = 0; i < nd; i++) order[i] = i;
    for (size_t i = nd; i > 1; i--) std::swap(order[i - 1], order[rng.next() % i]);
    q.stride.assign(nd, 0);
    int64_t at = 1, low = 0, high = 0;
    for (size_t i = nd; i-- > 0;) {
        size_t d = order[i];
        if (rng.next() % 12 == 0) continue;
        int64_t s = at * (rng.next() % 5 == 0 ? 2 : 1);
        at = s * q.size[d];
        if (rng.next() % 10 == 0) s = -s;
        q.stride[d] = s;
        (s < 0 ? low : high) += s * (q.size[d] - 1);
    }
    q.offset = -low;
    q.span = high - low + 1;
    return q;
}

int64_t product(const std::vector<int64_t>& v, size_t from, size_t to) {
    int64_t p = 1;
    for (size_t i = from; i < to; i++) p *= v[i];
    return p;
}

std::vector<int64_t> descriptor(const Problem& q, double correction, const void* out, int64_t out_bytes,
                                const void* mean, const void* in, int64_t in_bytes) {
    size_t nd = q.size.size();
    std::vector<int64_t> d = {static_cast<int64_t>(q.kept), static_cast<int64_t>(nd - q.kept), 1, 0,
                              static_cast<int64_t>(bits_of(correction))};
    for (int64_t s : q.size) d.push_back(s);
    for (const void* result : {out, mean}) {
        d.push_back(address(result));
        for (size_t k = 0; k < q.kept; k++) d.push_back(product(q.size, k + 1, q.kept) * out_bytes);
    }
    d.push_back(address(in) + q.offset * in_bytes);
    for (int64_t s : q.stride) d.push_back(s * in_bytes);
    return d;
}

// Calls f(output, elements of it in order).
template <class T, class F>
void each_output(const Problem& q, const std::vector<T>& data, F f) {
    int64_t outputs = product(q.size, 0, q.kept), length = product(q.size, q.kept, q.size.size());
    std::vector<T> elements(static_cast<size_t>(length));
    for (int64_t o = 0; o < outputs; o++) {
        for (int64_t i = 0; i < length; i++) {
            int64_t at = q.offset, rest = i;
            for (size_t d = q.size.size(); d-- > q.kept;) {
                at += rest % q.size[d] * q.stride[d];
                rest /= q.size[d];
            }
            rest = o;
            for (size_t d = q.kept; d-- > 0;) {
                at += rest % q.size[d] * q.stride[d];
                rest /= q.size[d];
            }
            elements[static_cast<size_t>(i)] = data[static_cast<size_t>(at)];
        }
        f(static_cast<size_t>(o), elements);
    }
}

const char* kFloatOps[] = {"sum", "mean", "sumsq", "var", "prod", "min", "max", "argmin", "argmax"};

template <class T>
void check_floats(const char* type, double eps) {
    for (int trial = 0; trial < 220; trial++) {
        Problem q = random_problem(trial);
        std::string op = kFloatOps[trial % 9];
        bool arg = op[0] == 'a';
        std::string result = arg ? "i64" : type;
        int64_t h = create_reduction(std::string("in 0 ") + type + "\nout 0 " + type + "\nr0 = load 0\nr1 = const." +
                                     type + (sizeof(T) == 4 ? " 0x40000000" : " 0x4000000000000000") + "\nr2 = mul." +
                                     type + " r0 r1\nstore 0 r2\nreduce " + op + " " + result);
        bool plain = trial % 2 == 0;
        if (plain) {  // nothing in front: values come straight from memory
            abi::reduce_destroy(h);
            h = create_reduction(std::string("in 0 ") + type + "\nout 0 " + type +
                                 "\nr0 = load 0\nstore 0 r0\nreduce " + op + " " + result);
        }
        double factor = plain ? 1 : 2;
        std::vector<T> data(static_cast<size_t>(q.span));
        for (auto& x : data) x = static_cast<T>(op == "prod" ? 0.5 + 0.001 * rng.normal() : rng.normal() + 3);
        if (arg || op == "min" || op == "max") {
            for (auto& x : data) x = static_cast<T>(static_cast<int>(rng.next() % 1000));  // ties
            if (trial % 3 == 0) data[rng.next() % data.size()] = std::numeric_limits<T>::quiet_NaN();
        }
        int64_t outputs = product(q.size, 0, q.kept), length = product(q.size, q.kept, q.size.size());
        std::vector<T> out(static_cast<size_t>(outputs), T(-77)), mean(out);
        std::vector<int64_t> index(static_cast<size_t>(outputs), -77);
        auto d =
            arg ? descriptor(q, 1, index.data(), 8, nullptr, data.data(), sizeof(T))
                : descriptor(q, 1, out.data(), sizeof(T), op == "var" ? mean.data() : nullptr, data.data(), sizeof(T));
        abi::set_num_threads(1);
        CHECK(abi::reduce_run(h, address(d.data())) == 0, "%s", op.c_str());
        auto out1 = out;
        auto index1 = index;
        abi::set_num_threads(3);
        CHECK(abi::reduce_run(h, address(d.data())) == 0, "%s", op.c_str());
        CHECK(std::memcmp(out.data(), out1.data(), out.size() * sizeof(T)) == 0 && index == index1, "%s: threads",
              op.c_str());
        each_output(q, data, [&](size_t o, const std::vector<T>& v) {
            long double sum = 0, squares = 0, prod = 1, magnitude = 0;
            size_t best = 0;
            bool max = op.find("max") != std::string::npos;
            for (size_t i = 0; i < v.size(); i++) {
                long double x = v[i] * factor;
                sum += x;
                magnitude += std::fabs(x);
                squares += x * x;
                prod *= x;
                if (v[best] == v[best] && (v[i] != v[i] || (max ? v[i] > v[best] : v[i] < v[best]))) best = i;
            }
            long double m = sum / static_cast<long double>(length), deviations = 0;
            for (T x : v) deviations += (x * factor - m) * (x * factor - m);
            double got = static_cast<double>(out[o]);
            if (arg) {
                CHECK(index[o] == static_cast<int64_t>(best), "%s: %lld want %zu of %zu", op.c_str(),
                      static_cast<long long>(index[o]), best, v.size());
                return;
            }
            long double want = op == "sum"     ? sum
                               : op == "mean"  ? m
                               : op == "sumsq" ? squares
                               : op == "prod"  ? prod
                               : op == "var"   ? deviations / static_cast<long double>(length - 1)
                                               : v[best] * factor;
            // Sums: a few roundings on the way (lanes of 16, then double), relative to the sum of magnitudes.
            // Welford over columns of doubles has no wider type to run in.
            long double walk = sizeof(T) == 8 ? std::sqrt(static_cast<double>(length)) : 1;
            long double allowed =
                op == "sum"                    ? 4 * eps * magnitude
                : op == "mean"                 ? 4 * eps * magnitude / static_cast<long double>(length)
                : op == "sumsq" || op == "var" ? 12 * eps * walk * std::fabs(want)
                : op == "prod"
                    ? (sizeof(T) == 4 ? 2 * eps : eps * static_cast<double>(length) + eps) * std::fabs(want) + 1e-45
                    : 0;
            bool same = std::fabs(got - want) <= allowed || (got != got && want != want);
            CHECK(same, "trial %d %s %s: %.9Lg want %.9Lg, length %lld, kept %zu of %zu", trial, type, op.c_str(),
                  static_cast<long double>(got), want, static_cast<long long>(length), q.kept, q.size.size());
            if (op == "var") {
                CHECK(std::fabs(static_cast<double>(mean[o]) - static_cast<double>(m)) <=
                          4 * eps * static_cast<double>(walk) * std::fabs(static_cast<double>(m)),
                      "mean of var");
            }
        });
        abi::reduce_destroy(h);
    }
}

template <class T>
void check_ints(const char* type) {
    const char* ops[] = {"sum", "prod", "min", "max", "argmin", "argmax"};
    for (int trial = 0; trial < 120; trial++) {
        Problem q = random_problem(trial);
        std::string op = ops[trial % 6];
        int64_t h = create_reduction(std::string("in 0 ") + type + "\nout 0 " + type +
                                     "\nr0 = load 0\nstore 0 r0\nreduce " + op + " i64");
        std::vector<T> data(static_cast<size_t>(q.span));
        for (auto& x : data)
            x = static_cast<T>(op == "prod" ? rng.next()
                                            : static_cast<uint64_t>(static_cast<int64_t>(rng.next() % 2001) - 1000));
        int64_t outputs = product(q.size, 0, q.kept);
        std::vector<int64_t> out(static_cast<size_t>(outputs), -77);
        auto d = descriptor(q, 0, out.data(), 8, nullptr, data.data(), sizeof(T));
        CHECK(abi::reduce_run(h, address(d.data())) == 0, "%s", op.c_str());
        each_output(q, data, [&](size_t o, const std::vector<T>& v) {
            uint64_t sum = 0, prod = 1;
            size_t low = 0, high = 0;
            for (size_t i = 0; i < v.size(); i++) {
                sum += static_cast<uint64_t>(static_cast<int64_t>(v[i]));
                prod *= static_cast<uint64_t>(static_cast<int64_t>(v[i]));
                if (v[i] < v[low]) low = i;
                if (v[i] > v[high]) high = i;
            }
            int64_t want = op == "sum"      ? static_cast<int64_t>(sum)
                           : op == "prod"   ? static_cast<int64_t>(prod)
                           : op == "min"    ? v[low]
                           : op == "max"    ? v[high]
                           : op == "argmin" ? static_cast<int64_t>(low)
                                            : static_cast<int64_t>(high);
            CHECK(out[o] == want, "%s %s: %lld want %lld", type, op.c_str(), static_cast<long long>(out[o]),
                  static_cast<long long>(want));
        });
        abi::reduce_destroy(h);
    }
}

void check_truth() {
    for (int trial = 0; trial < 100; trial++) {
        Problem q = random_problem(trial);
        bool all = trial % 2 == 0;
        int64_t h = create_reduction(
            std::string("in 0 f32\nout 0 bool\nr0 = load 0\nr1 = cast.f32.bool r0\nstore 0 r1\nreduce ") +
            (all ? "all" : "any") + " bool");
        std::vector<float> data(static_cast<size_t>(q.span), all ? 1.0f : 0.0f);
        for (int i = 0; i < 3; i++) data[rng.next() % data.size()] = all ? 0.0f : 2.0f;
        std::vector<uint8_t> out(static_cast<size_t>(product(q.size, 0, q.kept)), 9);
        auto d = descriptor(q, 0, out.data(), 1, nullptr, data.data(), 4);
        abi::reduce_run(h, address(d.data()));
        each_output(q, data, [&](size_t o, const std::vector<float>& v) {
            bool any = false, every = true;
            for (float x : v) {
                any = any || x != 0;
                every = every && x != 0;
            }
            CHECK(out[o] == (all ? every : any), "truth");
        });
        abi::reduce_destroy(h);
    }
}

void check_two_inputs() {
    // mean((x - y)²) over rows, y broadcast along rows, bf16 in and out.
    int64_t h = create_reduction(
        "in 0 bf16\nin 1 f32\nout 0 f32\nr0 = load 0\nr1 = load 1\nr2 = sub.f32 r0 r1\n"
        "r3 = square.f32 r2\nstore 0 r3\nreduce mean f32");
    const int64_t rows = 37, columns = 1300;
    std::vector<uint16_t> x(rows * columns);
    std::vector<float> y(columns), out(rows);
    for (auto& v : x) v = static_cast<uint16_t>(0x3f80 + rng.next() % 64);
    for (auto& v : y) v = static_cast<float>(rng.normal());
    int64_t d[] = {1,
                   1,
                   2,
                   0,
                   0,
                   rows,
                   columns,
                   address(out.data()),
                   4,
                   0,
                   0,
                   address(x.data()),
                   columns * 2,
                   2,
                   address(y.data()),
                   0,
                   4};
    CHECK(abi::reduce_run(h, address(d)) == 0, "run");
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int64_t c = 0; c < columns; c++) {
            uint32_t u = static_cast<uint32_t>(x[static_cast<size_t>(r * columns + c)]) << 16;
            float f;
            std::memcpy(&f, &u, 4);
            sum += (double(f) - y[static_cast<size_t>(c)]) * (double(f) - y[static_cast<size_t>(c)]);
        }
        CHECK(std::fabs(out[static_cast<size_t>(r)] - sum / columns) < 1e-6 * sum / columns, "mean of squares");
    }
    abi::reduce_destroy(h);
}

void check_edges() {
    auto run = [&](const std::string& op, const char* type, void* out, int64_t n, const void* in) {
        int64_t h = create_reduction("in 0 f32\nout 0 f32\nr0 = load 0\nstore 0 r0\nreduce " + op + " " + type);
        int64_t d[] = {0, 1, 1, 0, static_cast<int64_t>(bits_of(1.0)), n, address(out), 0, address(in), 4};
        int status = abi::reduce_run(h, address(d));
        abi::reduce_destroy(h);
        return status;
    };
    float out = -1;
    CHECK(run("sum", "f32", &out, 0, nullptr) == 0 && out == 0, "empty sum");
    CHECK(run("prod", "f32", &out, 0, nullptr) == 0 && out == 1, "empty prod");
    CHECK(run("mean", "f32", &out, 0, nullptr) == 0 && out != out, "empty mean");
    CHECK(run("var", "f32", &out, 0, nullptr) == 0 && out != out, "empty var");
    CHECK(run("max", "f32", &out, 0, nullptr) == abi::kEmptyReduction, "empty max");
    float one = 5;
    CHECK(run("var", "f32", &out, 1, &one) == 0 && out != out, "var of one: %g", out);
    float infinite[3] = {INFINITY, 1, INFINITY};
    CHECK(run("sum", "f32", &out, 3, infinite) == 0 && std::isinf(out), "sum of inf: %g", out);
    infinite[2] = -INFINITY;
    CHECK(run("sum", "f32", &out, 3, infinite) == 0 && out != out, "inf - inf");
    CHECK(run("max", "f32", &out, 3, infinite) == 0 && out == INFINITY, "max of inf");
    float minus[2] = {-INFINITY, -INFINITY};
    CHECK(run("max", "f32", &out, 2, minus) == 0 && out == -INFINITY, "max of -inf: %g", out);
    int64_t index = -1;
    CHECK(run("argmax", "i64", &index, 2, minus) == 0 && index == 0, "argmax of -inf");
    std::vector<float> tenth(10000000, 0.1f);
    CHECK(run("sum", "f32", &out, 10000000, tenth.data()) == 0 && std::fabs(out - 1000000.0f) <= 0.25f,
          "ten million tenths: %.9g", out);
    const char* bad[] = {"out 0 f32\nr0 = const.f32 0x0\nstore 0 r0",
                         "out 0 f32\nr0 = const.f32 0x0\nstore 0 r0\nreduce frob f32",
                         "out 0 f32\nr0 = const.f32 0x0\nstore 0 r0\nreduce sum i64",
                         "out 0 f32\nr0 = const.f32 0x0\nstore 0 r0\nreduce any bool",
                         "out 0 bf16\nr0 = const.f32 0x0\nstore 0 r0\nreduce sum f32",
                         "out 0 bool\nr0 = const.bool 0x1\nstore 0 r0\nreduce sum i64"};
    for (const char* text : bad) {
        char error[200] = {0};
        CHECK(abi::reduce_create(address(text), static_cast<int64_t>(std::strlen(text)), address(error), 200) == 0 &&
                  error[0] != 0,
              "accepted: %s", text);
    }
}

}  // namespace

int main() {
    check_edges();
    check_floats<float>("f32", 6e-8);
    check_floats<double>("f64", 1.2e-16);
    check_ints<int32_t>("i32");
    check_ints<int64_t>("i64");
    check_truth();
    check_two_inputs();
    std::printf("reduce_test: isa %d, %d failures\n", abi::isa_level(), failures);
    return failures == 0 ? 0 : 1;
}
