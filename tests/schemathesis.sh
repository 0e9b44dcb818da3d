#!/usr/bin/env bash
# Generates requests from the served OpenAPI document and holds every answer to it: no status of 500 and above, no status
# that is not documented, no body that does not fit its schema; then sequences of requests along the document's links.
# Says NOT TESTED where schemathesis cannot be installed. Arguments:
#   --examples N   cases for each operation (default 20)
#   --seed N       the seed of the generator (default 1)
set -euo pipefail
cd "$(dirname "$0")/.."

examples=20 seed=1
while [ $# -gt 0 ]; do
  case "$1" in
    --examples) examples="$2"; shift 2 ;;
    --seed) seed="$2"; shift 2 ;;
    *) sed -n '2,7p' "$0"; exit 2 ;;
  esac
done

tools="${SCHEMATHESIS_VENV:-${TMPDIR:-/tmp}/orchestrator-schemathesis}"
if [ ! -x "$tools/bin/st" ]; then
  if ! { python3 -m venv "$tools" && "$tools/bin/pip" install --quiet 'schemathesis==4.32.5' openapi-spec-validator; } 2>/dev/null; then
    rm -rf "$tools"
    echo "NOT TESTED: schemathesis cannot be installed (python3 with venv, and a package index, are needed)"
    exit 0
  fi
fi

programs="${ORCHESTRATOR_BIN:-${CARGO_TARGET_DIR:-target}/debug}"
work="$(mktemp -d)"
server=
stop() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap stop EXIT

"$programs/orchestrator" --data "$work/data" --listen 127.0.0.1:0 --ready-file "$work/ready" \
  --authentication required --admin-token-file "$work/token" >"$work/log" 2>&1 &
server=$!
for _ in $(seq 600); do
  if [ -s "$work/ready" ]; then break; fi
  if ! kill -0 "$server" 2>/dev/null; then tail -20 "$work/log"; exit 1; fi
  sleep 0.2
done
url="$(cat "$work/ready")"
export ORCHESTRATOR_SERVER="$url"

token="$(cat "$work/token")"
export ORCHESTRATOR_TOKEN="$token"

# Something of each kind, so that requests find what they name.
orchctl() { "$programs/orchctl" "$@" >/dev/null; }
orchctl pack install packs/greeting
call() { curl -fsS -X "$1" "$url$2" -H "Authorization: Bearer $token" -H 'Content-Type: application/json' ${3:+-d "$3"}; }
call PUT /v1/tenants/prepared '{"description": "The department of tests"}' >/dev/null
call POST /v1/tokens '{"name": "prepared", "roles": ["operator"], "expiresIn": "P1D"}' >/dev/null
call PUT /v1/secrets/prepared '{"value": "nobody-knows"}' >/dev/null
call PUT /v1/connections/prepared '{"baseUrl": "http://127.0.0.1:9", "authentication": {"scheme": "bearer", "token": "prepared"}}' >/dev/null
call POST /v1/services '{"name": "prepared", "pack": "greeting", "workflow": "greeting"}' >/dev/null
call POST /v1/schedules '{"name": "prepared", "service": "greeting", "input": {"name": "Ada"}, "every": "P30D"}' >/dev/null
id_of() { sed -E 's/.*"id":"([^"]+)".*/\1/'; }
instance="$(call POST /v1/instances '{"service": "greeting", "input": {"name": "Ada"}}' | id_of)"
notification="$(call POST /v1/notifications '{"recipients": {"type": "broadcast"}, "title": "Prepared"}' | id_of)"
service="$(call GET /v1/services/prepared | id_of)"
export SCHEMATHESIS_HOOKS="$PWD/tests/schemathesis_hooks.py"
SCHEMATHESIS_PREPARED="$(cat <<EOF
{"name": ["prepared"], "packs/name": ["greeting"], "pack": ["greeting"], "workflow": ["greeting"], "version": ["1.0.0"],
 "tenant": ["default"], "instances/id": ["$instance"], "tasks/id": ["$instance"], "notifications/id": ["$notification"],
 "services/id": ["$service"], "service/id": ["$service"]}
EOF
)"
export SCHEMATHESIS_PREPARED

curl -fsS "$url/v1/openapi.json" -o "$work/openapi.json"
"$tools/bin/python" -m openapi_spec_validator --schema 3.1 "$work/openapi.json"

# Streams end only when the reader goes; installing packs from noise is tested by the fuzzers of packs.
"$tools/bin/st" run "$work/openapi.json" --url "$url" --header "Authorization: Bearer $token" \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance \
  --exclude-path-regex '/events$' --exclude-operation-id install_pack \
  --phases examples,coverage,fuzzing,stateful --max-examples "$examples" --seed "$seed" \
  --generation-database none --request-timeout 30 --workers 1 --continue-on-failure --no-color
if ! kill -0 "$server" 2>/dev/null; then echo "the server died"; tail -20 "$work/log"; exit 1; fi
