#!/bin/sh
# Makes the secrets of the stack, each from the system's random numbers.
#
#   secrets.sh volume FOLDER   one file per secret: what the environment gives, else what is there, else a new one
#   secrets.sh env FILE        a .env file with all of them, which only its owner can read; one that is there is kept
set -eu

# The servers took these over when they first started, so that another value would only lock us out.
LASTING="MONGO_ROOT_PASSWORD MONGO_PASSWORD MONGO_WRITER_PASSWORD MONGO_KEY POSTGRES_ROOT_PASSWORD POSTGRES_PASSWORD
    ANALYST_PASSWORD AIRFLOW_DATABASE_PASSWORD AIRFLOW_FERNET_KEY"
CHANGEABLE="CLICKHOUSE_PASSWORD REDIS_PASSWORD JUPYTER_TOKEN AIRFLOW_ADMIN_PASSWORD AIRFLOW_JWT_SECRET
    AIRFLOW_SECRET_KEY"

fail() {
    echo "error: $1" >&2
    exit 1
}

# A Fernet key is 32 bytes in URL-safe base64; everything else is 32 bytes in hexadecimal digits.
made() {
    case $1 in
        AIRFLOW_FERNET_KEY) head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' ;;
        *) od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n' ;;
    esac
}

# What needs no escaping in a URI, in SQL or in XML.
check() {
    case $2 in
        *[!A-Za-z0-9._~=-]*) fail "$1 may hold only letters, digits and . _ ~ = -" ;;
    esac
}

write_volume() {
    folder=$1
    for name in $LASTING $CHANGEABLE; do
        eval "given=\${$name:-}"
        check "$name" "$given"
        file=$folder/$(echo "$name" | tr '[:upper:]' '[:lower:]')
        kept=
        if [ -s "$file" ]; then kept=$(cat "$file"); fi
        case " $(echo $LASTING) " in
            *" $name "*)
                if [ -n "$kept" ] && [ -n "$given" ] && [ "$kept" != "$given" ]; then
                    fail "$name is not the one that this stack was made with: put the old one back into .env (or \
remove it there), or delete the stack with all its data by: docker compose down --volumes"
                fi
                ;;
        esac
        # Other users must read it: each server runs as its own. On the host only root comes near a volume.
        umask 022
        printf '%s' "${given:-${kept:-$(made "$name")}}" >"$file.new"
        mv "$file.new" "$file"
    done
    echo "the secrets are in place"
}

write_env() {
    file=$1
    if [ -e "$file" ]; then
        echo "$file is there already and was left as it is"
        return
    fi
    umask 077
    for name in $LASTING $CHANGEABLE; do
        echo "$name=$(made "$name")"
    done >"$file.new"
    mv "$file.new" "$file"
    echo "$file has new secrets: docker compose up --build uses them"
}

case ${1:-} in
    volume) write_volume "$2" ;;
    env) write_env "$2" ;;
    *) fail "say secrets.sh volume FOLDER or secrets.sh env FILE" ;;
esac
