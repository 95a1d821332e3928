#!/bin/bash
# Succeeds when each user can log in: users.xml and the secrets are read at every start. Without a program for it, so that
# no password stands in the list of processes.
set -eu
logs_in() {
    exec 3<>/dev/tcp/127.0.0.1/8123
    printf 'GET /?query=SELECT%%201 HTTP/1.0\r\nHost: localhost\r\nX-ClickHouse-User: %s\r\nX-ClickHouse-Key: %s\r\n\r\n' \
        "$1" "$(cat "/run/etl/$2")" >&3
    read -r -t 5 _ status _ <&3
    exec 3>&-
    [ "$status" = 200 ] || { echo "ClickHouse's user $1 can't log in: HTTP $status" >&2; return 1; }
}
logs_in etl clickhouse_password
logs_in analyst analyst_password
