# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the scripts share: the project's root, the tools it needs, and a class path that is computed once per change.
# Sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

if [[ -n ${JAVA_HOME:-} ]]; then
    java=$JAVA_HOME/bin/java javac=$JAVA_HOME/bin/javac
else
    java=java javac=javac
fi

# The modules that are published, for Maven's -pl.
published=bom,core,testkit,native-cpu,openblas,native-cuda,merapi

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# ---- what is needed, and how it comes here ----

# Not empty: what is missing may be installed with sudo, or brew. Set by --install.
install=

# need TOOL…, of java, maven and compiler. What this machine lacks is installed by root, or by anybody with --install; else it
# is said, with one line to paste.
need() {
    local tool line missing=()
    for tool in "$@"; do
        "lacks_$tool" && missing+=("$tool")
    done
    ((${#missing[@]} > 0)) || return 0
    line=$(install_line "${missing[@]}")
    if [[ -z $line ]]; then
        echo "  fix: install them as this system does; $(elsewhere "${missing[@]}")" >&2
        exit 1
    elif [[ -z $install && ($(id -u) != 0 || $(uname -s) == Darwin) ]]; then
        echo "  fix: $line" >&2
        echo "       or run the same with --install, which does that; $(elsewhere "${missing[@]}")" >&2
        exit 1
    fi
    echo "installing, with a log in target/setup.log: $line" >&2
    mkdir -p target
    DEBIAN_FRONTEND=noninteractive bash -c "$line" </dev/null >target/setup.log 2>&1 ||
        fail "This did not work: $line" "$(tail -n 5 target/setup.log)"
    hash -r
    brewed_java
    for tool in "${missing[@]}"; do
        ! "lacks_$tool" || fail "  It was installed, and is still not right; $(elsewhere "$tool")"
    done
}

# The command that installs tools on this system, as one line; nothing if none is known.
install_line() {
    local tool sudo="" names=() first=""
    (($(id -u) == 0)) || sudo="sudo "
    if [[ $(uname -s) == Darwin ]]; then
        for tool in "$@"; do
            case $tool in
                java) names+=(openjdk@17) ;;
                maven) names+=(maven) ;;
                compiler) first="xcode-select --install" ;;
            esac
        done
        ((${#names[@]} == 0)) || first="${first:+$first; }brew install ${names[*]}"
        echo "$first"
    elif command -v apt-get >/dev/null; then
        for tool in "$@"; do
            case $tool in
                java) names+=("$(debian_jdk)") ;;
                maven) names+=(maven) ;;
                compiler) names+=(g++) ;;
            esac
        done
        echo "${sudo}apt-get update -qq && ${sudo}apt-get install -y -qq --no-install-recommends ${names[*]}"
    elif command -v dnf >/dev/null; then
        for tool in "$@"; do
            case $tool in
                java) grep -qs '^ID=fedora' /etc/os-release && names+=(java-latest-openjdk-devel) || names+=(java-21-openjdk-devel) ;;
                maven) names+=(maven) ;;
                compiler) names+=(gcc-c++) ;;
            esac
        done
        echo "${sudo}dnf install -y ${names[*]}"
    fi
}

# The JDK that a Debian or Ubuntu has by default is new enough, but for some old ones, which have 17 beside it.
debian_jdk() {
    if grep -qsE '^VERSION_CODENAME=(bullseye|focal|jammy)$' /etc/os-release; then echo openjdk-17-jdk; else echo default-jdk; fi
}

# What else would do.
elsewhere() {
    local tool hints=()
    for tool in "$@"; do
        case $tool in
            java) hints+=("JAVA_HOME may name a JDK that is installed elsewhere") ;;
            maven) hints+=("the bin folder of a Maven that was unpacked anywhere may be put on the PATH") ;;
            compiler) hints+=("CXX may name a compiler, and mvn -Dmerapi.native.skip=true verify builds plain Java without one") ;;
        esac
    done
    printf '%s' "${hints[0]}"
    ((${#hints[@]} < 2)) || printf '; %s' "${hints[@]:1}"
    echo "."
}

# Homebrew keeps its JDK off the PATH.
brewed_java() {
    local home
    if [[ -z ${JAVA_HOME:-} && $(uname -s) == Darwin ]] && command -v brew >/dev/null; then
        home=$(brew --prefix openjdk@17 2>/dev/null)/libexec/openjdk.jdk/Contents/Home
        if [[ -x $home/bin/javac ]]; then
            export JAVA_HOME=$home
            java=$home/bin/java javac=$home/bin/javac
        fi
    fi
}

# For other tools: how_to_install debian-packages fedora-packages macos-command
how_to_install() {
    echo "  fix: Debian, Ubuntu: sudo apt-get install $1"
    echo "       Fedora:         sudo dnf install $2"
    echo "       macOS:          $3"
}

# Another tool, and how it is installed: need_on_path TOOL debian-packages fedora-packages macos-command
need_on_path() {
    command -v "$1" >/dev/null || {
        echo "$1 is not on the PATH." >&2
        how_to_install "${@:2}" >&2
        exit 1
    }
}

# The number before the first dot of `javac 17.0.15`, or 0.
java_major() {
    local version
    version=$("$javac" -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p') || true
    echo "${version:-0}"
}

# Each of these succeeds if the tool is missing, or too old, and says so.
lacks_java() {
    local found
    if [[ -n ${JAVA_HOME:-} && ! -x $JAVA_HOME/bin/java ]]; then
        fail "JAVA_HOME is set, but holds no JDK: $JAVA_HOME" "  fix: let it name a JDK of version 17 or newer, or unset it."
    fi
    found=$(java_major)
    if ((found == 0)); then
        echo "No JDK: $javac is missing or does not run; Merapi needs version 17 or newer." >&2
    elif ((found < 17)); then
        echo "The JDK is too old: $javac has version $found, Merapi needs 17 or newer." >&2
    else
        return 1
    fi
}

lacks_maven() {
    local version major minor
    version=$(mvn -v 2>/dev/null | sed -n 's/.*Apache Maven \([0-9][0-9.]*\).*/\1/p') || true
    IFS=. read -r major minor _ <<<"${version:-0.0}"
    if [[ -z $version ]] && ! command -v mvn >/dev/null; then
        echo "No Maven: mvn is not on the PATH; Merapi needs version 3.8 or newer." >&2
    elif [[ -z $version ]] && (($(java_major) > 0)); then
        echo "No Maven: mvn does not run; Merapi needs version 3.8 or newer." >&2
    elif [[ -n $version ]] && ((major < 3 || (major == 3 && minor < 8))); then
        echo "Maven is too old: mvn has version $version, Merapi needs 3.8 or newer." >&2
    else
        return 1
    fi
}

lacks_compiler() {
    local compiler=${CXX:-g++}
    ! command -v "${compiler%% *}" >/dev/null || return 1
    echo "No C++ compiler: $compiler is not on the PATH; the CPU kernels are C++17." >&2
}

# ---- building ----

# Maven without a prompt, download bars and the colour codes that some builds of it print at exit all the same. JDK 24 and newer warn about what Maven's own libraries do.
transfers=-ntp
# awk that answers each line at once; mawk has to be asked for that.
lines=(awk)
awk -W version 2>&1 </dev/null | grep -q '^mawk' && lines=(awk -W interactive)
maven() {
    local options=${MAVEN_OPTS:-}
    if (($(java_major) >= 24)); then
        options="--enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow $options"
    fi
    MAVEN_OPTS=$options mvn -B $transfers -Dstyle.color=never "$@" 2>&1 |
        "${lines[@]}" '{ codes = gsub(/\033\[[0-9;]*m/, "") } $0 != "" || !codes { print; fflush() }'
}

# class_path MODULE [maven arguments]: builds MODULE without its tests, and sets class_path. Costs nothing while no
# source, pom or argument has changed; then only a JDK is needed.
class_path() {
    local module=$1 file=$root/$1/target/run.classpath stamp=$root/$1/target/run.stamp key log watcher
    shift
    key="$(java_major) ${CXX:-} $*"
    if [[ ! -s $file || ! -f $stamp || $(<"$stamp") != "$key" || -n $(newer_than "$stamp") ]]; then
        need java maven compiler
        key="$(java_major) ${CXX:-} $*"
        mkdir -p "$root/$module/target"
        log=$root/$module/target/build.log
        echo "building $module; the first time takes minutes, as libraries are fetched and C++ is compiled …" >&2
        rm -f "$stamp"
        printf '%s' "$key" >"$stamp.new"
        watch_objects "$stamp.new" &
        watcher=$!
        # Kept from before the build: what changes while it runs is newer.
        transfers= maven -Dmerapi.fast "$@" -pl "$module" -am process-classes dependency:build-classpath \
            -Dmdep.outputFile=target/run.dependencies -DincludeScope=runtime | tee "$log" | show_progress >&2 || {
            kill "$watcher" 2>/dev/null || true
            fail "$module was not built." "  the whole log: $log"
        }
        kill "$watcher" 2>/dev/null || true
        printf '%s' "$root/$module/target/classes:$(<"$root/$module/target/run.dependencies")" >"$file"
        mv "$stamp.new" "$stamp"
    else
        need java
    fi
    class_path=$(<"$file")
}

# Shows of Maven's lines those that say how far it is, and its errors.
show_progress() {
    "${lines[@]}" '
        function say(what,   now) {
            "date +%s" | getline now; close("date +%s")
            printf "  %4d s  %s\n", now - start, what; fflush()
        }
        BEGIN { "date +%s" | getline start; close("date +%s") }
        /Downloaded from/ { if (++files % 100 == 0) say(files " files fetched"); next }
        /Downloading from/ { next }
        match($0, /\[[0-9]+\/[0-9]+\]/) && /Building Merapi/ {
            at = substr($0, RSTART + 1, RLENGTH - 2); sub("/", " of ", at)
            sub(/.*Building /, ""); sub(/ *\[.*/, ""); say($0 ": " at)
        }
        /native-build: compiling/ { sub(/.*native-build: /, ""); say($0) }
        /^\[ERROR\]/ { print; fflush() }'
}

# watch_objects SINCE: says every ten seconds how many C++ files have been compiled, while there are more and more.
watch_objects() {
    local now before=0
    while sleep 10; do
        now=$(find ./*/target/native* -name '*.o' -newer "$1" 2>/dev/null | wc -l) || true
        ((now == before)) || echo "           … $((now)) C++ files compiled" >&2
        before=$now
    done
}

newer_than() {
    find pom.xml scripts/common.sh scripts/native-build ./*/pom.xml ./*/src/main ./*/src/peers -newer "$1" -type f -print -quit 2>/dev/null || true
    # Another build may have thrown the classes away.
    [[ -d core/target/classes ]] && compgen -G "native-cpu/target/classes/dev/merapi/cpu/*/*merapi_cpu*" >/dev/null || echo missing
}

# Whether a folder that scripts/native-jars has laid out holds a library, or a stand-in.
has_library() {
    [[ -n $(find "$1" \( -name '*.so' -o -name '*.dylib' -o -name '*.dll' \) -print -quit) ]]
}
