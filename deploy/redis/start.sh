#!/bin/sh
# Starts a Redis or Valkey server with redis.conf and the users of users.acl, which are beside this.
#   SEKRING_PASSWORD=… ADMIN_PASSWORD=… deploy/redis/start.sh [SERVER [OPTION...]]
# Passwords come from the environment: SEKRING_PASSWORD (the service's), EXPORTER_PASSWORD, ADMIN_PASSWORD, and, with
# replicas, REPLICA_PASSWORD and SENTINEL_PASSWORD, the same on every server. A user without one is left out.
# SEKRING_KEY_PREFIX is what the service has (default: sekring). RUN_DIR must be writable and no volume that is kept
# (default: /run/sekring-redis).
set -eu
umask 077

here=$(dirname "$0")
run=${RUN_DIR:-/run/sekring-redis}
prefix=${SEKRING_KEY_PREFIX:-sekring}
if [ -z "${SEKRING_PASSWORD:-}" ]; then
    echo "start.sh: SEKRING_PASSWORD is not set: the service could not log in." >&2
    exit 2
fi
case $prefix in
    *[!A-Za-z0-9_.:-]*)
        echo "start.sh: SEKRING_KEY_PREFIX takes A-Z a-z 0-9 _ . : -" >&2
        exit 2
        ;;
esac
if [ $# -eq 0 ]; then
    if command -v valkey-server >/dev/null; then set -- valkey-server; else set -- redis-server; fi
fi
server=$1
shift

mkdir -p "$run"
cp "$here/users.acl" "$run/users.acl"
sed -i "s/~sekring:\*/~$prefix:*/; s/&sekring:\*/\&$prefix:*/" "$run/users.acl"
for user in SEKRING EXPORTER ADMIN REPLICA SENTINEL; do
    eval "password=\${${user}_PASSWORD:-}"
    # shellcheck disable=SC2154  # set by eval
    if [ -n "$password" ]; then
        hash=$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)
        sed -i "s/@${user}_PASSWORD_SHA256@/$hash/" "$run/users.acl"
    else
        sed -i "/@${user}_PASSWORD_SHA256@/d" "$run/users.acl"
    fi
    unset "${user}_PASSWORD"
    if [ "$user" = REPLICA ]; then replica_password=$password; fi
done

cp "$here/redis.conf" "$run/redis.conf"
echo "aclfile $run/users.acl" >>"$run/redis.conf"
if [ -n "${replica_password:-}" ]; then
    # Any server may become a replica.
    escaped=$(printf %s "$replica_password" | sed 's/[\\"]/\\&/g')
    printf 'masteruser replica\nmasterauth "%s"\n' "$escaped" >>"$run/redis.conf"
fi
exec "$server" "$run/redis.conf" "$@"
