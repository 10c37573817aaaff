#!/usr/bin/env bash
# Closes the circuit breaker of one or more instances at once.
set -euo pipefail

usage() {
    cat <<'END'
Usage: reset-circuit-breaker.sh INSTANCE_ID...

Closes the circuit breaker of each instance and clears its failures and retries.

Environment:
  SEKRING_URL    where the service is (default http://localhost:8000)
  SEKRING_TOKEN  an API token with the role operator, where the service asks for one

Exit status: 0 all were reset, 1 the service refused at least one, 2 wrong usage,
3 the service could not be reached.
END
}

case ${1:-} in
    -h | --help)
        usage
        exit 0
        ;;
    --) shift ;; # what follows may begin with a dash
    -?*)
        printf 'reset-circuit-breaker.sh: unknown option %s\n\n' "$1" >&2
        usage >&2
        exit 2
        ;;
esac
if [[ $# -eq 0 || -z $1 ]]; then
    usage >&2
    exit 2
fi

url=${SEKRING_URL:-http://localhost:8000}
url=${url%/}
token=${SEKRING_TOKEN:-}

if ! command -v curl >/dev/null; then
    echo "reset-circuit-breaker.sh needs curl, and it was not found." >&2
    exit 2
fi
case $token in
    *[![:graph:]]*)
        # It would end the header, or the line of curl's configuration.
        echo "SEKRING_TOKEN holds a space, a line break or another character that no token has." >&2
        exit 2
        ;;
esac

# url_encode TEXT: every byte that is not unreserved as %XX, so that no ID can name another path.
url_encode() {
    local LC_ALL=C text=$1 encoded='' character position
    for ((position = 0; position < ${#text}; position++)); do
        character=${text:position:1}
        case $character in
            [A-Za-z0-9._~-]) encoded+=$character ;;
            *) encoded+=$(printf '%%%02X' "'$character") ;;
        esac
    done
    printf '%s' "$encoded"
}

# string_field NAME: the value of a top-level string in the JSON on stdin; nothing if there is none.
string_field() {
    sed -nE 's/.*"'"$1"'"[[:space:]]*:[[:space:]]*"(([^"\\]|\\.)*)".*/\1/p' | head -n 1 | sed -E 's/\\(["\\/])/\1/g'
}

# curl_configuration: what curl reads on its stdin. The token goes this way, since a command line can
# be read by everyone on the machine.
curl_configuration() {
    if [[ -n $token ]]; then
        local escaped=${token//\\/\\\\}
        printf 'header = "Authorization: Bearer %s"\n' "${escaped//\"/\\\"}"
    fi
}

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
refused=0

for instance_id in "$@"; do
    target=$url/reset-circuit-breaker/$(url_encode "$instance_id")
    curl_status=0
    http_status=$(curl_configuration | curl --config - --silent --show-error --request POST \
        --path-as-is --globoff --header 'Accept: application/json' --connect-timeout 5 --max-time 30 \
        --output "$answer" --write-out '%{http_code}' "$target") || curl_status=$?
    if ((curl_status != 0)); then
        printf 'Sekring could not be reached at %s (curl ended with %d; its message is above).\n' \
            "$url" "$curl_status" >&2
        printf 'Is it running? Start it with scripts/serve, or set SEKRING_URL to where it is.\n' >&2
        exit 3
    fi
    # `message` on the guide's routes, `detail` or `title` in a problem document.
    message=$(string_field message <"$answer")
    [[ -n $message ]] || message=$(string_field detail <"$answer")
    [[ -n $message ]] || message=$(string_field title <"$answer")
    case $http_status in
        2??) printf '%s\n' "${message:-The circuit breaker of $instance_id was reset.}" ;;
        *)
            printf '%s was not reset (HTTP %s): %s\n' "$instance_id" "$http_status" \
                "${message:-the service gave no reason}" >&2
            refused=1
            ;;
    esac
done
exit "$refused"
