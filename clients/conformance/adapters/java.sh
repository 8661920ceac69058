#!/bin/sh
# Builds the Java client and its adapter, and starts it: see ../README.md.
set -eu
java=$(cd "$(dirname "$(readlink -f "$0")")/../../java" && pwd)
command -v javac > /dev/null || { echo 'there is no javac: install a JDK, 17 or newer (openjdk-17-jdk-headless)' >&2; exit 77; }
if [ -n "${TIDETABLE_CLIENT_BINARIES:-}" ]; then
  out=$TIDETABLE_CLIENT_BINARIES/java
  mkdir -p "$out"
else
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
fi
"$java/build" "$out" >&2
mkdir -p "$out/adapter"
javac --release 17 -Xlint:all -Werror -encoding UTF-8 -cp "$out/tidetable-client.jar" -d "$out/adapter" \
  "$java/conformance/tidetable/conformance/Adapter.java" >&2
java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256m -cp "$out/tidetable-client.jar:$out/adapter" tidetable.conformance.Adapter
