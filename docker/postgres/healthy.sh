#!/bin/bash
# Succeeds when each user can log in where it works. What is not there yet it makes, so a first start that was cut short is
# finished by the next check, and a changed password reaches its user.
set -eu
# By this container's own name: from 127.0.0.1 the image lets everybody in without asking for the password. And not by the
# socket, where the server of the very first start answers too.
logs_in() {
    PGPASSWORD=$(cat "/run/etl/$2") PGCONNECT_TIMEOUT=3 \
        psql --no-psqlrc --quiet --host="$HOSTNAME" --username="$1" --dbname="$3" --command='SELECT' >/dev/null
}
all_log_in() {
    logs_in etl postgres_password etl && logs_in analyst analyst_password etl &&
        logs_in airflow airflow_database_password airflow && logs_in postgres postgres_root_password postgres
}
pg_isready --quiet --host="$HOSTNAME"
all_log_in 2>/dev/null || { bash /opt/etl/users.sh && all_log_in; }
