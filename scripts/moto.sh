#!/usr/bin/env bash
# Fetches moto into .cache/moto: an S3 server that is not ours, for the tests to be held against.
set -euo pipefail

exec "$(dirname "${BASH_SOURCE[0]}")/wheels.sh" moto "20 MB" "import moto.server"
