// SPDX-License-Identifier: Apache-2.0
//
// Micro-benchmarks of the interpreter and the reductions: median of repeated timings. `bench [threads]`, 1 by default.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>

#include "harness.h"

namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void time_it(const char* name, double elements, const std::function<void()>& f) {
    f();
    std::vector<double> times;
    double start = seconds();
    while ((times.size() < 15 || seconds() - start < 0.05) && times.size() < 2000) {
        double t = seconds();
        f();
        times.push_back(seconds() - t);
    }
    std::nth_element(times.begin(), times.begin() + static_cast<long>(times.size() / 2), times.end());
    double median = times[times.size() / 2];
    std::printf("%-44s %10.2f us  %7.3f ns/element\n", name, median * 1e6, median * 1e9 / elements);
}

std::string unary(const char* op, const char* type = "f32") {
    std::string t = type;
    return "in 0 " + t + "\nout 0 " + t + "\nr0 = load 0\nr1 = " + op + ".f32 r0\nstore 0 r1\n";
}

}  // namespace

int main(int argc, char** argv) {
    abi::set_num_threads(argc > 1 ? std::atoi(argv[1]) : 1);
    std::printf("isa %d, threads %d\n", abi::isa_level(), abi::num_threads());
    const int64_t n = 1 << 20;
    std::vector<float> a(n), b(n), c(n), o(n);
    Random rng;
    for (auto& x : a) x = static_cast<float>(rng.normal());
    for (auto& x : b) x = static_cast<float>(rng.normal());

    int64_t add = create("in 0 f32\nin 1 f32\nout 0 f32\nr0 = load 0\nr1 = load 1\nr2 = add.f32 r0 r1\nstore 0 r2\n");
    int64_t chain = create(
        "in 0 f32\nin 1 f32\nin 2 f32\nout 0 f32\nr0 = load 0\nr1 = load 1\nr2 = mul.f32 r0 r1\n"
        "r1 = load 2\nr2 = add.f32 r2 r1\nr2 = relu.f32 r2\nstore 0 r2\n");
    auto flat = [&](int64_t h, int64_t m) {
        abi::program_run_flat(h, m, address(o.data()), address(a.data()), address(b.data()), address(c.data()), 0, 0);
    };
    for (int64_t m : {8, 64, 1024}) {
        std::string name = "add, " + std::to_string(m) + ", 1000 calls";
        time_it(name.c_str(), 1000.0 * static_cast<double>(m), [&] {
            for (int i = 0; i < 1000; i++) flat(add, m);
        });
    }
    time_it("mul add relu, 8, 1000 calls", 8000, [&] {
        for (int i = 0; i < 1000; i++) flat(chain, 8);
    });
    int64_t small[] = {1, 1, 2, 0, 8, address(o.data()), 4, address(a.data()), 4, address(b.data()), 4};
    time_it("add, 8, by descriptor, 1000 calls", 8000, [&] {
        for (int i = 0; i < 1000; i++) abi::program_run(add, address(small));
    });
    time_it("add, 2^20", n, [&] { flat(add, n); });
    time_it("mul add relu, 2^20", n, [&] { flat(chain, n); });
    int64_t copy = create("in 0 f32\nout 0 f32\nr0 = load 0\nstore 0 r0\n");
    time_it("copy, 2^20", n, [&] { flat(copy, n); });
    for (const char* op : {"relu", "sqrt", "floor", "exp", "log", "tanh", "sigmoid", "silu", "silu_grad", "gelu",
                           "gelu_grad", "gelu_tanh", "gelu_tanh_grad", "erf", "softplus", "sin", "expm1", "atan"}) {
        int64_t h = create(unary(op));
        time_it((std::string(op) + ", 2^20").c_str(), n, [&] { flat(h, n); });
    }
    int64_t relu_bf16 = create(unary("relu", "bf16")), relu_f16 = create(unary("relu", "f16"));
    time_it("relu bf16, 2^20", n, [&] { flat(relu_bf16, n); });
    time_it("relu f16, 2^20", n, [&] { flat(relu_f16, n); });

    auto shaped = [&](int64_t h, std::vector<int64_t> size, std::vector<std::vector<int64_t>> strides) {
        std::vector<int64_t> d = {static_cast<int64_t>(size.size()), 1, static_cast<int64_t>(strides.size()) - 1, 0};
        for (int64_t s : size) d.push_back(s);
        const void* memory[] = {o.data(), a.data(), b.data(), c.data()};
        for (size_t k = 0; k < strides.size(); k++) {
            d.push_back(address(memory[k]));
            for (int64_t s : strides[k]) d.push_back(s * 4);
        }
        return [h, d] { abi::program_run(h, address(d.data())); };
    };
    time_it("add, [1365,768] + [768]", n, shaped(add, {1365, 768}, {{768, 1}, {768, 1}, {0, 1}}));
    time_it("add, [1365,768] + [1365,1]", n, shaped(add, {1365, 768}, {{768, 1}, {768, 1}, {1, 0}}));
    time_it("add, [131072,8] + [8]", n, shaped(add, {131072, 8}, {{8, 1}, {8, 1}, {0, 1}}));
    time_it("add, [131072,8] + [131072,1]", n, shaped(add, {131072, 8}, {{8, 1}, {8, 1}, {1, 0}}));
    time_it("add, [16384,64] + [64]", n, shaped(add, {16384, 64}, {{64, 1}, {64, 1}, {0, 1}}));
    time_it("add, [8192,128] + [128]", n, shaped(add, {8192, 128}, {{128, 1}, {128, 1}, {0, 1}}));
    time_it("copy, [1024,1024] transposed", n, shaped(copy, {1024, 1024}, {{1024, 1}, {1, 1024}}));
    time_it("copy, [1000,1000] transposed", 1e6, shaped(copy, {1000, 1000}, {{1000, 1}, {1, 1000}}));
    time_it("copy, [16,64,1024] to [16,1024,64]", n, shaped(copy, {16, 1024, 64}, {{65536, 64, 1}, {65536, 1, 1024}}));
    time_it("add, [1024,1024] + transposed", n, shaped(add, {1024, 1024}, {{1024, 1}, {1024, 1}, {1, 1024}}));

    auto reduction = [&](const char* op, std::vector<int64_t> kept, std::vector<int64_t> reduced,
                         std::vector<int64_t> stride, const char* body = "r0 = load 0\nstore 0 r0\n") {
        int64_t h = create_reduction(std::string("in 0 f32\nout 0 f32\n") + body + "reduce " + op +
                                     (op[0] == 'a' ? " i64" : " f32"));
        std::vector<int64_t> d = {static_cast<int64_t>(kept.size()), static_cast<int64_t>(reduced.size()), 1, 0, 0};
        d.insert(d.end(), kept.begin(), kept.end());
        d.insert(d.end(), reduced.begin(), reduced.end());
        d.push_back(address(o.data()));
        for (size_t k = 0; k < kept.size(); k++) {
            int64_t s = 8;
            for (size_t j = k + 1; j < kept.size(); j++) s *= kept[j];
            d.push_back(s);
        }
        d.resize(d.size() + 1 + kept.size(), 0);
        d.push_back(address(a.data()));
        for (int64_t s : stride) d.push_back(s * 4);
        return [h, d] { abi::reduce_run(h, address(d.data())); };
    };
    auto tiny = reduction("sum", {}, {8}, {1});
    time_it("sum, 8, 1000 calls", 8000, [&] {
        for (int i = 0; i < 1000; i++) tiny();
    });
    const char* square = "r0 = load 0\nr1 = square.f32 r0\nstore 0 r1\n";
    time_it("sum all, 2^20", n, reduction("sum", {}, {n}, {1}));
    time_it("sum of squares by program, 2^20", n, reduction("sum", {}, {n}, {1}, square));
    time_it("sumsq, 2^20", n, reduction("sumsq", {}, {n}, {1}));
    for (const char* op : {"max", "argmax", "var", "prod"})
        time_it((std::string(op) + " all, 2^20").c_str(), n, reduction(op, {}, {n}, {1}));
    for (const char* op : {"sum", "max", "argmax", "var"}) {
        std::string s = op;
        time_it((s + " rows [1365,768]").c_str(), n, reduction(op, {1365}, {768}, {768, 1}));
        time_it((s + " rows [131072,8]").c_str(), n, reduction(op, {131072}, {8}, {8, 1}));
        time_it((s + " columns [1365,768]").c_str(), n, reduction(op, {768}, {1365}, {1, 768}));
    }
    time_it("sum columns [16,65536]", n, reduction("sum", {65536}, {16}, {1, 65536}));
    time_it("sum columns [131072,8]", n, reduction("sum", {8}, {131072}, {1, 8}));
    time_it("sum columns [349525,3]", n, reduction("sum", {3}, {349525}, {1, 3}));
    time_it("sum middle [16,1024,64]", n, reduction("sum", {16, 64}, {1024}, {65536, 1, 64}));
    time_it("sum channels [16,64,1024] over 0, 2", n, reduction("sum", {64}, {16, 1024}, {1024, 65536, 1}));
    return 0;
}
