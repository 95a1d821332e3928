#!/bin/bash
# Starts the server as the image does, with the users of users.xml: what they are known by is a hash of the password.
# The server's own user reads copies: the files may be for the eyes of the user alone that cloned them.
set -eu
install -D --mode=0644 /opt/etl/users.xml /etc/clickhouse-server/users.d/etl.xml
install -D --mode=0644 /opt/etl/logs.xml /etc/clickhouse-server/config.d/etl-logs.xml
hash() { sha256sum "/run/etl/$1" | cut -d ' ' -f 1; }
CLICKHOUSE_ETL_SHA256=$(hash clickhouse_password)
CLICKHOUSE_ANALYST_SHA256=$(hash analyst_password)
export CLICKHOUSE_ETL_SHA256 CLICKHOUSE_ANALYST_SHA256
# The image would make a user of its own, or lock the default one to this machine: we bring ours.
export CLICKHOUSE_SKIP_USER_SETUP=1
exec /entrypoint.sh "$@"
