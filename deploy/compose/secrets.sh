#!/usr/bin/env bash
# Makes the passwords and keys that deploy/compose.yaml mounts, random, into deploy/compose/secrets. Those that are there stay.
set -euo pipefail

place=${1:-$(dirname "${BASH_SOURCE[0]}")/secrets}
install -d -m 700 "$place"

# N random bytes, in hexadecimal digits.
random() { od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }

# From stdin. Compose mounts the file as it is, and each container's user is another one: so all may read it, and the folder
# is yours alone. pgtend warns of such a password file when it starts; in its container there is nobody else to read it.
write() { install -m 444 /dev/stdin "$place/$1"; }

for name in postgres_password pgtend_db_password grafana_password; do
    [ -e "$place/$name" ] || random 24 | write "$name"
done

if [ ! -e "$place/s3_credentials" ] || [ ! -e "$place/garage.env" ]; then
    id=GK$(random 12)
    key=$(random 32)
    printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$id" "$key" | write s3_credentials
    printf '%s\n' "GARAGE_RPC_SECRET=$(random 32)" "GARAGE_DEFAULT_ACCESS_KEY=$id" "GARAGE_DEFAULT_SECRET_KEY=$key" \
        GARAGE_DEFAULT_BUCKET=backups | write garage.env
fi
