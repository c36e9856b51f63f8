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

# how_to_install debian-packages fedora-packages macos-command
how_to_install() {
    echo "  fix: Debian, Ubuntu: sudo apt-get install $1"
    echo "       Fedora:         sudo dnf install $2"
    echo "       macOS:          $3"
}

# The number before the first dot of `javac 17.0.15`, or 0.
java_major() {
    local version
    version=$("$javac" -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p') || true
    echo "${version:-0}"
}

need_java() {
    local found
    if [[ -n ${JAVA_HOME:-} && ! -x $JAVA_HOME/bin/java ]]; then
        fail "JAVA_HOME is set, but holds no JDK: $JAVA_HOME" "  fix: let it name a JDK of version 17 or newer, or unset it."
    fi
    found=$(java_major)
    if ((found < 17)); then
        if ((found == 0)); then
            echo "No JDK: $javac is missing or does not run; Merapi needs version 17 or newer." >&2
        else
            echo "The JDK is too old: $javac has version $found, Merapi needs 17 or newer." >&2
        fi
        how_to_install openjdk-17-jdk java-latest-openjdk-devel "brew install openjdk@17" >&2
        echo "       Or set JAVA_HOME to a JDK that is installed elsewhere." >&2
        exit 1
    fi
}

need_maven() {
    local version major minor
    version=$(mvn -v 2>/dev/null | sed -n 's/.*Apache Maven \([0-9][0-9.]*\).*/\1/p') || true
    IFS=. read -r major minor _ <<<"${version:-0.0}"
    if ((major < 3 || (major == 3 && minor < 8))); then
        if [[ -z $version ]]; then
            echo "No Maven: mvn is missing or does not run; Merapi needs version 3.8 or newer." >&2
        else
            echo "Maven is too old: mvn has version $version, Merapi needs 3.8 or newer." >&2
        fi
        how_to_install maven maven "brew install maven" >&2
        exit 1
    fi
}

need_compiler() {
    local compiler=${CXX:-g++}
    if ! command -v "$compiler" >/dev/null; then
        echo "No C++ compiler: $compiler is not on the PATH; the CPU kernels are C++17." >&2
        how_to_install g++ gcc-c++ "xcode-select --install" >&2
        echo "       Or set CXX; or build only the plain-Java part: mvn -Dmerapi.native.skip=true verify" >&2
        exit 1
    fi
}

# Maven without a prompt, download bars and the colour codes that some builds of it print at exit all the same. JDK 24 and newer warn about what Maven's own libraries do.
maven() {
    local options=${MAVEN_OPTS:-}
    if (($(java_major) >= 24)); then
        options="--enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow $options"
    fi
    MAVEN_OPTS=$options mvn -B -ntp -Dstyle.color=never "$@" 2>&1 |
        awk '{ codes = gsub(/\033\[[0-9;]*m/, "") } $0 != "" || !codes { print; fflush() }'
}

# class_path MODULE [maven arguments]: builds MODULE without its tests, and sets class_path. Costs nothing while no
# source, pom or argument has changed; then only a JDK is needed.
class_path() {
    local module=$1 file=$root/$1/target/run.classpath stamp=$root/$1/target/run.stamp key
    shift
    key="$(java_major) ${CXX:-} $*"
    if [[ ! -s $file || ! -f $stamp || $(<"$stamp") != "$key" || -n $(newer_than "$stamp") ]]; then
        need_maven
        need_compiler
        echo "building $module …" >&2
        mkdir -p "$root/$module/target"
        rm -f "$stamp"
        printf '%s' "$key" >"$stamp.new"
        # Kept from before the build: what changes while it runs is newer.
        maven -q -Dmerapi.fast "$@" -pl "$module" -am process-classes dependency:build-classpath \
            -Dmdep.outputFile=target/run.dependencies -DincludeScope=runtime >&2
        printf '%s' "$root/$module/target/classes:$(<"$root/$module/target/run.dependencies")" >"$file"
        mv "$stamp.new" "$stamp"
    fi
    class_path=$(<"$file")
}

newer_than() {
    find pom.xml scripts/common.sh scripts/native-build ./*/pom.xml ./*/src/main ./*/src/peers -newer "$1" -type f -print -quit 2>/dev/null || true
    # Another build may have thrown the classes away.
    [[ -d core/target/classes ]] && compgen -G "native-cpu/target/classes/dev/merapi/cpu/*/*jniNative*" >/dev/null || echo missing
}

# Whether a folder that scripts/native-jars has laid out holds a library, or a stand-in.
has_library() {
    [[ -n $(find "$1" \( -name '*.so' -o -name '*.dylib' -o -name '*.dll' \) -print -quit) ]]
}
