#!/usr/bin/env bash
# The adapter of the TypeScript client: compiles the client where it is older than its sources, and starts it.
# 77: the tools are not there.
set -euo pipefail
cd "$(dirname "$0")/../../typescript"
skip() {
    echo "$*" >&2
    exit 77
}
command -v node >/dev/null || skip "there is no node"
[ "$(node -p 'Number(process.versions.node.split(".")[0]) >= 18')" = true ] || skip "node is older than 18"
command -v npm >/dev/null || skip "there is no npm"
# A client that cannot be built is broken, not lacking.
scripts/build >&2
exec node ../conformance/adapters/typescript/adapter.mjs
