#!/bin/sh
# Makes the secrets of the stack, each from the system's random numbers.
#
#   secrets.sh volume FOLDER SHARES [REPORTS]
#                                    one file per secret in FOLDER: what the environment gives, else what is there, else a
#                                    new one; then in SHARES/<reader> what that reader needs, for its user's eyes only;
#                                    and Airflow's programs may write into the folder REPORTS
#   secrets.sh show NAME             print one secret of /run/etl
#   secrets.sh env FILE              a .env file with all of them, which only its owner can read; one that is there is kept
set -eu
umask 077

# What was written under these can't be read under others: the users of MongoDB, and the passwords that Airflow keeps.
LASTING="MONGO_ROOT_PASSWORD AIRFLOW_FERNET_KEY"
CHANGEABLE="MONGO_PASSWORD MONGO_WRITER_PASSWORD MONGO_KEY POSTGRES_ROOT_PASSWORD POSTGRES_PASSWORD ANALYST_PASSWORD
    AIRFLOW_DATABASE_PASSWORD CLICKHOUSE_PASSWORD REDIS_PASSWORD JUPYTER_TOKEN AIRFLOW_ADMIN_PASSWORD AIRFLOW_VIEWER_PASSWORD
    AIRFLOW_JWT_SECRET AIRFLOW_SECRET_KEY"

# Who reads what: a folder below SHARES, the number of the user that the image's program runs as, the secrets.
READERS="
mongo 999 mongo_root_password mongo_key mongo_password mongo_writer_password analyst_password
postgres 999 postgres_root_password postgres_password analyst_password airflow_database_password
clickhouse 101 clickhouse_password analyst_password
redis 999 redis_password
airflow 50000 airflow_database_password airflow_fernet_key airflow_jwt_secret airflow_secret_key redis_password
apiserver 50000 airflow_database_password airflow_fernet_key airflow_jwt_secret airflow_secret_key redis_password airflow_admin_password airflow_viewer_password
tasks 50000 airflow_database_password airflow_fernet_key airflow_jwt_secret airflow_secret_key redis_password mongo_password mongo_writer_password postgres_password clickhouse_password
etl 50000 mongo_writer_password postgres_password clickhouse_password
jupyter 1000 analyst_password jupyter_token
"

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

# Whether $1 consists of nothing but what the pattern $2 allows, all of it.
matches() {
    printf '%s' "$1" | grep -Eqx "$2" && [ "$(printf '%s' "$1" | wc -l)" -eq 0 ]
}

check() {
    case $1 in
        MONGO_KEY)
            [ $((${#2} % 4)) -eq 0 ] && [ ${#2} -ge 6 ] && [ ${#2} -le 1024 ] && matches "$2" '[A-Za-z0-9+/]+={0,2}' ||
                fail "MONGO_KEY must be 6 to 1,024 characters of base64, as mongod takes them: openssl rand -base64 48"
            ;;
        AIRFLOW_FERNET_KEY)
            matches "$2" '[A-Za-z0-9_-]{43}=' ||
                fail "AIRFLOW_FERNET_KEY must be 32 bytes in URL-safe base64: openssl rand -base64 32 | tr +/ -_"
            ;;
        *) # what needs no escaping in a URI, in SQL or in XML
            matches "$2" '[A-Za-z0-9._~=-]+' || fail "$1 may hold only letters, digits and . _ ~ = -"
            ;;
    esac
}

# Write $1 into the file $2, all at once, for the user with the number $3.
put() {
    rm -f "$2.new" # of one that was killed: as it is, nobody may write to it
    printf '%s' "$1" >"$2.new"
    chmod 0400 "$2.new"
    if [ "$(id -u)" -eq 0 ]; then chown "$3" "$2.new"; fi
    mv -f "$2.new" "$2"
}

write_volume() {
    folder=$1
    mkdir -p "$folder"
    for name in $LASTING $CHANGEABLE; do
        eval "given=\${$name:-}"
        if [ -n "$given" ]; then check "$name" "$given"; fi
        file=$folder/$(echo "$name" | tr '[:upper:]' '[:lower:]')
        kept=
        if [ -s "$file" ]; then kept=$(cat "$file"); fi
        case " $LASTING " in
            *" $name "*)
                if [ -n "$kept" ] && [ -n "$given" ] && [ "$kept" != "$given" ]; then
                    fail "$name is not the one that this stack was made with: put the old one back into .env (or \
remove it there), or delete the stack with all its data by: docker compose down --volumes"
                fi
                ;;
        esac
        put "${given:-${kept:-$(made "$name")}}" "$file" 0
    done
}

share() {
    printf '%s\n' "$READERS" | while read -r reader user names; do
        if [ -z "$reader" ]; then continue; fi
        mkdir -p "$2/$reader"
        chmod 0755 "$2/$reader"
        for old in "$2/$reader"/*; do
            case " $names " in *" ${old##*/} "*) ;; *) rm -f "$old" ;; esac
        done
        for name in $names; do
            put "$(cat "$1/$name")" "$2/$reader/$name" "$user"
        done
    done
}

# Let Airflow's programs, whose group is 0, write into the folder $1. It stays whose it is, and closed to whom it is closed.
open_to_airflow() {
    if [ ! -d "$1" ] || [ "$(id -u)" -ne 0 ]; then return; fi
    owner=$(stat -c %u "$1")
    # As its owner for a moment, who may change the rights of a folder without any capability.
    { chown 0:0 "$1" && chmod g+rwx "$1" && chown "$owner:0" "$1"; } ||
        echo "warning: the folder reports can't be opened to Airflow's programs; let the user 50000 write there" >&2
}

warn_of_open_ports() {
    case ${BIND_ADDRESS:-127.0.0.1} in
        127.* | localhost | ::1 | '[::1]') ;;
        *)
            echo "warning: BIND_ADDRESS=$BIND_ADDRESS opens the ports to the network, and nothing there speaks TLS:" \
                "passwords and data cross it in clear; put a proxy with TLS before them, or a tunnel (ssh -L)" >&2
            ;;
    esac
}

write_env() {
    file=$1
    if [ -e "$file" ]; then
        echo "$file is there already and was left as it is"
        return
    fi
    for name in $LASTING $CHANGEABLE; do
        echo "$name=$(made "$name")"
    done >"$file.new"
    mv "$file.new" "$file"
    echo "$file has new secrets: docker compose up --build uses them"
}

case ${1:-} in
    volume)
        write_volume "$2"
        share "$2" "$3"
        open_to_airflow "${4:-}"
        warn_of_open_ports
        echo "the secrets are in place"
        ;;
    show)
        file=${ETL_SECRETS:-/run/etl}/${2:-}
        [ -f "$file" ] || fail "there is no secret '${2:-}'"
        cat "$file"
        echo
        ;;
    env) write_env "$2" ;;
    *) fail "say secrets.sh volume FOLDER SHARES, secrets.sh show NAME or secrets.sh env FILE" ;;
esac
