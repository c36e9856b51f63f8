#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the kernels and the native tests with the host's compiler, without Maven: build.sh <output folder>
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cpp=$here/../../main/cpp
out=${1:?usage: build.sh <output folder>}
mkdir -p "$out"
CXX=${CXX:-g++}
flags="-O${OPTIMIZE:-3} -std=c++17 -fPIC -fno-math-errno -fno-trapping-math -ffp-contract=off -fno-strict-aliasing -fvisibility=hidden
 -I$cpp -Wall -Wextra -Wno-psabi -Wno-uninitialized -Wno-ignored-attributes"
case $(uname -m) in
x86_64) levels="base:-march=x86-64 avx2:-march=x86-64-v3 avx512:-march=x86-64-v4" ;;
*) levels="base:" ;;
esac
compile() { # object, source, options: only what is older than a source or a header
    if [ ! -f "$1" ] || [ -n "$(find "$cpp" "$here" \( -name '*.h' -o -path "$2" \) -newer "$1")" ]; then
        # shellcheck disable=SC2086
        $CXX $flags $3 -c "$2" -o "$1"
    fi
}
for source in pool isa program reduce_plan merapi_cpu scratch structured indexing positions blas cgroup; do compile "$out/$source.o" "$cpp/$source.cpp" ""; done
objects="$out/pool.o $out/isa.o $out/program.o $out/reduce_plan.o $out/merapi_cpu.o
 $out/scratch.o $out/structured.o $out/indexing.o $out/positions.o $out/blas.o $out/cgroup.o"
for level in $levels; do
    name=${level%%:*}
    for source in interp ops_float ops_int reduce \
        softmax cross_entropy norm index_add scatter_reduce gemm attention conv pool2d random optimizer; do
        compile "$out/$source.$name.o" "$cpp/isa/$source.cpp" "-DMERAPI_ISA=$name ${level#*:}"
        objects="$objects $out/$source.$name.o"
    done
    compile "$out/vmath_test.$name.o" "$here/vmath_test.cpp" "-DMERAPI_ISA=$name ${level#*:}"
    $CXX "$out/vmath_test.$name.o" -o "$out/vmath_test.$name"
done
for test in interp_test reduce_test kernels_test bench; do
    [ -f "$here/$test.cpp" ] || continue
    compile "$out/$test.o" "$here/$test.cpp" "-I$cpp"
    # shellcheck disable=SC2086
    $CXX "$out/$test.o" $objects -lpthread -o "$out/$test"
done
