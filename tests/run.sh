#!/usr/bin/env bash
# Passes every test of the project. Arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."
bash .ci/setup
exec cargo test --workspace --locked "$@"
