#!/usr/bin/env bash
# From an empty machine to a migrated bucket. Arguments go to the demo (`--help` lists them).
set -euo pipefail
cd "$(dirname "$0")/.."
bash .ci/setup
echo 'demo: building the server, the command line and the demo (some minutes the first time)'
cargo build --release --locked --workspace --bin orchestrator --bin orchctl --bin demo
target="${CARGO_TARGET_DIR:-target}"
exec "$target/release/demo" "$@"
