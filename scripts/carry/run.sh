#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Merapi, carried along: tests, measurements and training without Java, Maven or a network.
#
#   sh run.sh session [--only STEP…] [--checked] the first minutes on a GPU, what matters most first, all of it written
#                                                down as it comes; session --help lists the steps
#   sh run.sh info                               what this machine offers, and where CUDA's libraries were found
#   sh run.sh test [cpu|cuda-sim|gpu|kernels|checked|products] [TEST…]    TEST is a part of a class name
#                                                default: gpu if nvidia-smi finds one, else cpu;
#                                                kernels: the simulator's tests of kernels, on the GPU;
#                                                checked: the same, but each launch is waited for;
#                                                products: Merapi's own products of matrices, without cuBLASLt
#   sh run.sh bench [--device cuda|cpu|cuda-sim] [--tiny] […]   beside PyTorch, if python3 has it
#   sh run.sh torch [--tiny] […]                 PyTorch's part of that, alone
#   sh run.sh sanitize racecheck|memcheck TEST…  tests of kernels under compute-sanitizer
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

tool() { # where a tool of the toolkit is
    command -v "$1" && return
    for home in "${CUDA_HOME:-}" "${CUDA_PATH:-}" /usr/local/cuda /usr/local/cuda-[0-9]* /opt/cuda; do
        if [ -n "$home" ] && [ -x "$home/bin/$1" ]; then
            echo "$home/bin/$1"
            return
        fi
    done
    return 1
}

left_out() { # there is nothing to be done here, and nothing is wrong
    echo "$1"
    exit 3
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

launcher=
java() {
    # shellcheck disable=SC2086 # launcher and JAVA_OPTS are lists
    ${launcher:-} "$here/jre/bin/java" --enable-native-access=ALL-UNNAMED -Djava.awt.headless=true \
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
    if has_gpu; then
        nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv,noheader 2>&1 |
            sed 's/^/  nvidia-smi: /'
    else
        echo "  nvidia-smi: finds no GPU"
    fi
    for name in nvcc compute-sanitizer; do
        echo "  $name: $(tool $name || echo not found)"
    done
    echo "  carried kernels: $(cat "$here/kernels" 2>/dev/null || echo none)"
    echo "  compiled kernels: $(ls "$cache/kernels" 2>/dev/null | wc -l)"
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
    jars=$here/tests/merapi-native-cuda-tests.jar
    tags='!gpu'
    properties=-Dmerapi.cpu.java=true
    case $kind in
        cpu)
            jars=$here/tests/merapi-core-tests.jar:$here/tests/merapi-testkit-tests.jar:$here/tests/merapi-native-cpu-tests.jar
            properties=
            ;;
        cuda-sim)
            command -v "${CXX:-g++}" >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 ||
                echo "The simulator needs a C++ compiler, and there is no g++ or clang++: its tests will be skipped." >&2
            properties="$properties -Dmerapi.cuda.sim.blas=own"
            ;;
        gpu)
            jars=$jars:$here/tests/merapi-examples-tests.jar
            tags=gpu
            properties="$properties -Drequire.gpu=true"
            ;;
        *)
            tags=kernels
            properties="$properties -Drequire.gpu=true -Dmerapi.cuda.tests=gpu"
            [ "$kind" != checked ] || properties="$properties -Dmerapi.cuda.checked=true"
            if [ "$kind" = products ]; then
                tags='kernels|gpu'
                properties="$properties -Dmerapi.cuda.blas=own"
                [ $# -gt 0 ] || set -- CudaContractTest GemmTest MixedPrecisionTest
            fi
            ;;
    esac
    # shellcheck disable=SC2086
    set -- -Xmx4g -XX:+UseParallelGC $properties -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
        ${MERAPI_TEST_RESULTS:+"-Dmerapi.tests.results=$MERAPI_TEST_RESULTS"} \
        -cp "$all" dev.merapi.benchmarks.TestRun "$tags" "$jars" "$@"
    if [ -n "${MERAPI_TEST_RESULTS:-}" ]; then
        java "$@" # whoever wants results keeps the log
        return
    fi
    log=$PWD/merapi-test-$kind.log
    echo "tests of $kind; the log: $log"
    status=${TMPDIR:-/tmp}/merapi-status.$$
    {
        code=0
        java "$@" 2>&1 || code=$?
        echo $code >"$status"
    } | tee "$log"
    code=$(cat "$status")
    rm -f "$status"
    return "$code"
}

sanitize() {
    check=$1
    shift
    sanitizer=$(tool compute-sanitizer) || left_out "compute-sanitizer is not there"
    launcher="$sanitizer --tool $check --target-processes all --error-exitcode 9"
    run_tests kernels "$@"
}

session() {
    exec "$here/jre/bin/java" -Xmx256m -XX:+UseSerialGC -Dfile.encoding=UTF-8 -Dstdout.encoding=UTF-8 \
        -Dmerapi.bundle="$here" -cp "$class_path" dev.merapi.benchmarks.Session "$@"
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
                peer=$cache/pytorch.jsonl
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

torch() {
    [ -n "$python" ] && "$python" -c 'import torch' 2>/dev/null || left_out "${python:-python3} has no PyTorch"
    "$python" "$here/pytorch_bench.py" "$@"
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
    torch) torch "$@" ;;
    sanitize) find_libraries && sanitize "$@" ;;
    session) session "$@" ;;
    train) find_libraries && train "$@" ;;
    help | -h | --help) sed -n '4,21s/^#\( \|$\)//p' "$0" ;;
    *) fail "run.sh: no command '$command'." "  commands: session info test bench torch sanitize train help" ;;
esac
