#!/bin/sh
# Builds the adapter of the Rust client, and starts it: see ../README.md. With the features of the whole
# workspace, so that nothing which is built already is built again.
set -eu
root=$(cd "$(dirname "$(readlink -f "$0")")/../../.." && pwd)
cargo=${CARGO:-cargo}
command -v "$cargo" > /dev/null || { echo 'there is no cargo: install Rust' >&2; exit 77; }
cd "$root"
"$cargo" build --release --locked --workspace --example conformance >&2
exec "${CARGO_TARGET_DIR:-$root/target}/release/examples/conformance"
