#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Compiles ahead, for GPUs of one architecture, the kernels that the tests, measurements and the example of a bundle need:
#
#   scripts/carry/kernels.sh BUNDLE ARCHITECTURE NVRTC CACHE
#
# All of it is run once, with NVIDIA's compiler out of the folder NVRTC, on a driver that does nothing: results are garbage, and so
# nearly all tests fail, but every kernel has been compiled. A kernel that does not compile is a failure of this script. CACHE keeps the
# images from one time to the next; the bundle gets those that were used this time. Its logs stay there too.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
bundle=$1 architecture=$2 nvrtc=$3 cache=$4

mkdir -p "$cache/null"
"${CC:-cc}" -O2 -shared -fPIC -DWITHOUT_COMPILER -Wl,-soname,libcuda.so.1 -o "$cache/null/libcuda.so.1" \
    benchmarks/src/main/resources/dev/merapi/benchmarks/null_cuda.c
stamp=$cache/stamp
touch "$stamp"
rm -f "$cache"/*.jsonl "$cache"/*.log

# ask NAME ARGUMENTS…: a run of the bundle; what its tests say goes to NAME.jsonl.
ask() {
    local name=$1
    shift
    mkdir -p "$cache/work/$name"
    (cd "$cache/work/$name" && env LD_LIBRARY_PATH="$cache/null" NULL_CUDA_ARCHITECTURE="$architecture" NULL_CUDA_GIB=128 \
        MERAPI_CUDA_LIBRARIES="$nvrtc" MERAPI_CACHE="$cache" MERAPI_PYTHON=none MERAPI_TEST_RESULTS="$cache/$name.jsonl" \
        sh "$bundle/run.sh" "$@" >"$cache/$name.log" 2>&1) || true
}

# NVRTC compiles one kernel at a time in a process: two processes halve the time.
{
    ask kernels test kernels
    ask bench bench --device cuda --peer none --rounds 1 --into "$cache/bench.jsonl"
    ask train train gpt --device cuda --precision bf16 --graph --steps 4 --warmup 2
} &
ask gpu test gpu
wait

version=$(sed -n 's/.*; NVRTC \([0-9.]*\) .*/\1/p' "$cache/train.log" | head -1)
[[ -n $version ]] || fail "kernels: nothing was compiled with the compiler in $nvrtc:" "$(tail -5 "$cache/train.log")"
broken=$(cat "$cache"/*.jsonl | grep -E 'KernelCompileException|does not compile' || true)
[[ -z $broken ]] || fail "kernels: what does not compile for sm_$architecture:" "$broken"

mkdir -p "$bundle/cache/kernels"
find "$cache/kernels" -type f ! -name 'new-*' -newer "$stamp" -exec cp -t "$bundle/cache/kernels" {} +
count=$(find "$bundle/cache/kernels" -type f | wc -l)
echo "$count for sm_$architecture, by NVRTC $version" >"$bundle/kernels"
cat "$bundle/kernels"
