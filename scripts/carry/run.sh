#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Merapi, carried along: tests, measurements and training without Java, Maven or a network.
#
#   sh run.sh info                               what this machine offers, and where CUDA's libraries were found
#   sh run.sh test [cpu|cuda-sim|gpu|kernels|checked|products] [TEST…]    TEST is a part of a class name
#                                                default: gpu if nvidia-smi finds one, else cpu;
#                                                kernels: the simulator's tests of kernels, on the GPU;
#                                                checked: the same, but each launch is waited for;
#                                                products: Merapi's own products of matrices, without cuBLASLt
#   sh run.sh bench [--device cuda|cpu|cuda-sim] [--tiny] […]   beside PyTorch, if python3 has it
#   sh run.sh bench jmh [regex] [JMH arguments]
#   sh run.sh train [gpt|fashion] [arguments]    sh run.sh train gpt --device cuda
#
# Results go to the folder you call it from. JAVA_OPTS goes to the JVM. MERAPI_CUDA_LIBRARIES names folders with CUDA's
# libraries, separated by colons, that are looked at first; MERAPI_PYTHON the Python to ask (default: python3).
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

fail() {
    printf '%s\n' "$@" >&2
    exit 2
}

[ -x "$here/jre/bin/java" ] || fail "run.sh: $here/jre/bin/java is missing." "  fix: unpack the whole archive with tar xf."
system="$(uname -s) $(uname -m)"
[ "$system" = "$(cat "$here/system")" ] ||
    fail "run.sh: this bundle was made for $(cat "$here/system"), and this is $system." "  fix: make it on a machine like this one, with scripts/bundle."
if ! "$here/jre/bin/java" -version >/dev/null 2>&1; then
    "$here/jre/bin/java" -version >&2 || true
    fail "run.sh: the bundle's Java does not run here." "  fix: its C library must be no newer than this machine's; make the bundle on an older system."
fi

python=${MERAPI_PYTHON:-python3}
command -v "$python" >/dev/null 2>&1 || python=

# ---- where CUDA's libraries are ----

add_folder() { # appends a folder that exists and is not there yet
    [ -d "$1" ] || return 0
    case ":$libraries:" in
        *":$1:"*) ;;
        *) libraries=${libraries:+$libraries:}$1 ;;
    esac
}

find_libraries() {
    libraries=${MERAPI_CUDA_LIBRARIES:-}
    for home in "${CUDA_HOME:-}" "${CUDA_PATH:-}" /usr/local/cuda /usr/local/cuda-[0-9]* /opt/cuda; do
        [ -n "$home" ] || continue
        add_folder "$home/lib64"
        add_folder "$home/targets/$(uname -m)-linux/lib"
    done
    # The same folders in the order in which Python itself would look. Importing nothing, this takes a moment only.
    if [ -n "$python" ]; then
        sites=$("$python" -c 'import sys
for p in sys.path:
    if p.endswith(("site-packages", "dist-packages")): print(p)' 2>/dev/null) || sites=
        old=$IFS
        IFS='
'
        for site in $sites; do
            IFS=$old
            add_folder "$site/nvidia/cu13/lib"
            for folder in "$site"/nvidia/*/lib; do
                add_folder "$folder"
            done
            add_folder "$site/torch/lib"
        done
        IFS=$old
    fi
    if [ -d "$here/nvrtc" ] && [ -z "$(holding libnvrtc.so)" ]; then
        add_folder "$here/nvrtc"
    fi
    MERAPI_CUDA_LIBRARIES=$libraries
    export MERAPI_CUDA_LIBRARIES
}

holding() { # the first of the folders with a library of that name
    old=$IFS
    IFS=:
    for folder in $libraries; do
        for file in "$folder/$1".*; do
            if [ -e "$file" ]; then
                echo "$folder"
                IFS=$old
                return
            fi
        done
    done
    IFS=$old
}

has_gpu() {
    command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q '^GPU'
}

# ---- the JVM ----

# With it, CUDA's libraries of another version than the one compiled against do not load.
unset LD_BIND_NOW

cache=${MERAPI_CACHE:-}
if [ -z "$cache" ]; then
    cache=$here/cache
    mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] || cache=${TMPDIR:-/tmp}/merapi-cache-$(id -u)
fi

class_path=
while read -r jar; do
    class_path=${class_path:+$class_path:}$here/$jar
done <"$here/class-path"

java() {
    # shellcheck disable=SC2086 # JAVA_OPTS is a list
    "$here/jre/bin/java" --enable-native-access=ALL-UNNAMED -Djava.awt.headless=true \
        -Dfile.encoding=UTF-8 -Dstdout.encoding=UTF-8 -Dsun.stdout.encoding=UTF-8 \
        -Dorg.bytedeco.javacpp.cachedir="$cache/natives" -Dmerapi.cuda.cache="$cache/kernels" \
        -Dmerapi.commit="$(cat "$here/commit")" ${JAVA_OPTS:-} "$@"
}

info() {
    java -cp "$class_path" dev.merapi.Merapi
    for library in libnvrtc.so libcublas.so libcublasLt.so libcudnn.so; do
        folder=$(holding $library)
        echo "  $library: ${folder:-not found in these folders}"
    done
    echo "  CUDA folders: ${libraries:-none found}"
    if [ -n "$python" ]; then
        "$python" -c 'import torch
print("  PyTorch:", torch.__version__, "CUDA", torch.version.cuda, torch.cuda.get_device_name() if torch.cuda.is_available() else "without a GPU")' 2>/dev/null ||
            echo "  PyTorch: not there, or it does not load"
    fi
}

# ---- commands ----

run_tests() {
    kind=
    case ${1:-} in
        cpu | cuda-sim | gpu | kernels | checked | products) kind=$1 && shift ;;
    esac
    [ -n "$kind" ] || if has_gpu; then kind=gpu; else kind=cpu; fi
    all=$class_path
    for jar in "$here"/tests/*.jar; do
        all=$all:$jar
    done
    case $kind in
        cpu)
            jars=$here/tests/merapi-core-tests.jar:$here/tests/merapi-testkit-tests.jar:$here/tests/merapi-native-cpu-tests.jar
            set -- --exclude-tag=gpu -- "$@"
            ;;
        cuda-sim)
            command -v "${CXX:-g++}" >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 ||
                echo "The simulator needs a C++ compiler, and there is no g++ or clang++: its tests will be skipped." >&2
            jars=$here/tests/merapi-native-cuda-tests.jar
            set -- -Dmerapi.cpu.java=true -Dmerapi.cuda.sim.blas=own --exclude-tag=gpu -- "$@"
            ;;
        gpu)
            jars=$here/tests/merapi-native-cuda-tests.jar:$here/tests/merapi-examples-tests.jar
            set -- -Drequire.gpu=true -Dmerapi.cpu.java=true --include-tag=gpu -- "$@"
            ;;
        *)
            jars=$here/tests/merapi-native-cuda-tests.jar
            [ "$kind" != products ] || [ $# -gt 0 ] || set -- CudaContractTest GemmTest MixedPrecisionTest
            set -- -- "$@"
            [ "$kind" != checked ] || set -- -Dmerapi.cuda.checked=true "$@"
            [ "$kind" != products ] || set -- -Dmerapi.cuda.blas=own "$@"
            tag=kernels
            [ "$kind" != products ] || tag='kernels|gpu'
            set -- -Drequire.gpu=true -Dmerapi.cuda.tests=gpu -Dmerapi.cpu.java=true "--include-tag=$tag" "$@"
            ;;
    esac
    properties=
    tags=
    while [ "$1" != -- ]; do
        case $1 in
            -D*) properties="$properties $1" ;;
            *) tags=$1 ;;
        esac
        shift
    done
    shift
    pattern=
    for name in "$@"; do
        pattern=${pattern:+$pattern|}.*$name.*
    done
    log=$PWD/merapi-test-$kind.log
    echo "tests of $kind; all of the log: $log"
    status=$here/cache/status.$$
    mkdir -p "$here/cache" 2>/dev/null || status=${TMPDIR:-/tmp}/merapi-status.$$
    {
        code=0
        # shellcheck disable=SC2086
        java -Xmx4g -XX:+UseParallelGC $properties -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
            -cp "$all" org.junit.platform.console.ConsoleLauncher execute \
            --disable-banner --disable-ansi-colors --fail-if-no-tests --details=tree --details-theme=ascii "$tags" \
            --scan-class-path="$jars" --include-classname="${pattern:-.*Test}" 2>&1 || code=$?
        echo $code >"$status"
    } | tee "$log" | awk '
        # Of the tree: what failed or was skipped; then the counts and what is said about failures.
        /^Test run finished|^Failures \(/ { rest = 1 }
        rest                              { if (!/^\[.* containers /) print; next }
        / \[S\] /                         { sub(/^[^A-Za-z]*/, ""); print "skipped: " $0; next }
        / \[X\] /                         { sub(/^[^A-Za-z]*/, ""); print "FAILED:  " $0; next }
        / \[OK\]$/ || /^\.?$/               { next }
        NF                                { print }'
    code=$(cat "$status")
    rm -f "$status"
    if [ "$code" = 2 ]; then
        echo "No test was found." >&2
    fi
    return "$code"
}

bench() {
    if [ "${1:-}" = jmh ]; then
        shift
        java -cp "$class_path" org.openjdk.jmh.Main "$@"
        return
    fi
    # PyTorch measures first, in a process that is gone before ours begins.
    peer=
    case " $* " in
        *" --peer "* | *" --help "* | *" --device cuda-sim "*) ;;
        *)
            if [ -n "$python" ] && "$python" -c 'import torch' 2>/dev/null; then
                peer=$cache/pytorch.json
                mkdir -p "$cache"
                rm -f "$peer"
                ask_pytorch "$@"
            else
                echo "No PyTorch to compare with: ${python:-python3} has no torch." >&2
            fi
            ;;
    esac
    java -cp "$class_path" dev.merapi.benchmarks.DeviceReport "$@" ${peer:+--peer "$peer"}
}

ask_pytorch() { # asks PyTorch with the same options, but for --out
    for option in "$@"; do
        shift
        if [ "${skip:-}" ]; then
            skip=
        elif [ "$option" = --out ]; then
            skip=yes
        else
            set -- "$@" "$option"
        fi
    done
    "$python" "$here/pytorch_bench.py" "$@" --out "$peer" || peer=
    [ -s "$peer" ] || peer=
}

train() {
    name=gpt
    case ${1:-} in
        "" | -*) ;;
        *) name=$1 && shift ;;
    esac
    case $name in
        gpt) class=TrainGpt ;;
        fashion) class=TrainFashion ;;
        *) fail "run.sh: no example '$name'." "  examples: gpt fashion" ;;
    esac
    java -cp "$class_path" "dev.merapi.examples.$class" "$@"
}

command=${1:-help}
[ $# -eq 0 ] || shift
case $command in
    info) find_libraries && info ;;
    test) find_libraries && run_tests "$@" ;;
    bench) find_libraries && bench "$@" ;;
    train) find_libraries && train "$@" ;;
    help | -h | --help) sed -n '4,14s/^#\( \|$\)//p' "$0" ;;
    *) fail "run.sh: no command '$command'." "  commands: info test bench train help" ;;
esac
