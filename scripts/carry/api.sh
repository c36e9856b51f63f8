#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Compares the API of two staging folders by japicmp, packages that are exported to all alone:
#
#   scripts/carry/api.sh OLD NEW VERSION-OF-NEW
#
# Fails if a program that was compiled with the old one may not run with the new one. Before 1.0 that may be meant: then it
# belongs into CHANGELOG.md.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

old=$1 new=$2 version=$3
tool=$root/target/japicmp/japicmp-0.23.1-jar-with-dependencies.jar
[[ -f $tool ]] || maven -q dependency:copy -Dartifact=com.github.siom79.japicmp:japicmp:0.23.1:jar:jar-with-dependencies \
    "-DoutputDirectory=$(dirname "$tool")" >&2

status=0
for module in core testkit native-cpu openblas native-cuda; do
    artifact=merapi-$module
    before=$(find "$old/dev/merapi/$artifact" -name "$artifact-*.jar" | grep -E "/$artifact-[0-9][^/]*\.jar$" |
        grep -vE -- '-(sources|javadoc|linux-[a-z0-9_]+|macosx-[a-z0-9_]+|windows-[a-z0-9_]+)\.jar$' | sort -V | tail -1 || true)
    [[ -n $before ]] || { echo "API of $artifact: it is new" && continue; }
    packages=$(sed -n 's/^ *exports \([a-z.]*\);.*/\1/p' "$module/src/main/java/module-info.java" | paste -sd';' -)
    [[ -n $packages ]] || { echo "API of $artifact: it exports nothing" && continue; }
    if "$java" -jar "$tool" --old "$before" --new "$new/dev/merapi/$artifact/$version/$artifact-$version.jar" --include "$packages" \
        --include-exclusively --ignore-missing-classes --only-modified --only-incompatible --error-on-binary-incompatibility \
        >"$root/target/japicmp/$artifact.txt" 2>&1; then
        echo "API of $artifact: what ran with $(basename "$before") runs with $version"
    else
        grep -E '\*\*\*!|---!|\+\+\+!|Exception' "$root/target/japicmp/$artifact.txt" | head -40
        echo "API of $artifact: not compatible with $(basename "$before"); the whole list is target/japicmp/$artifact.txt"
        status=1
    fi
done
exit "$status"
