// SPDX-License-Identifier: Apache-2.0
//
// Which of the builds of isa/*.cpp runs on this machine. Each such file exports one table of function pointers,
//     const FooTable foo_table = {…};         // in namespace merapi::MERAPI_ISA, with an `extern` declaration before
//     it
// and the baseline code picks once:
//     MERAPI_DECLARE_TABLE(FooTable, foo_table)    // at namespace merapi
//     static const FooTable& table() { static const FooTable& t = MERAPI_PICK_TABLE(foo_table); return t; }
#pragma once

namespace merapi {

enum class Isa { base = 0, avx2 = 1, avx512 = 2 };

// The best build that this processor runs. MERAPI_CPU_ISA=base|avx2|avx512 in the environment lowers it (for tests).
Isa isa();

}  // namespace merapi

#if defined(__x86_64__)
#define MERAPI_DECLARE_TABLE(Type, name) \
    namespace base {                     \
    extern const Type name;              \
    }                                    \
    namespace avx2 {                     \
    extern const Type name;              \
    }                                    \
    namespace avx512 {                   \
    extern const Type name;              \
    }
#define MERAPI_PICK_TABLE(name)                                        \
    (::merapi::isa() == ::merapi::Isa::avx512 ? ::merapi::avx512::name \
     : ::merapi::isa() == ::merapi::Isa::avx2 ? ::merapi::avx2::name   \
                                              : ::merapi::base::name)
#else
#define MERAPI_DECLARE_TABLE(Type, name) \
    namespace base {                     \
    extern const Type name;              \
    }
#define MERAPI_PICK_TABLE(name) (::merapi::base::name)
#endif
