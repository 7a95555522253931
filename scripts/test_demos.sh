#!/usr/bin/env bash
# Runs the demo of each application as `make demo APP=…` does: each comes to its good end, and each of its runs succeeds.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for app in lukhas lucy autosdlc helix code-review; do
    if ! scripts/demo_app.sh "$app" >"$log" 2>&1; then
        cat "$log"
        echo "demo: $app FAILED"
        exit 1
    fi
    echo "demo: $app: $(sed -n '/^\$ pgtend run /,/^== What they did/p' "$log" | grep -c ' succeeded ') jobs ran"
done
