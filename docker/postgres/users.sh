#!/bin/bash
# Makes the users and databases that are missing, and gives each user the password of the secrets; doing it again does no
# harm (healthy.sh calls it). Both databases belong to the superuser, so that neither the pipeline nor Airflow can drop
# one; and neither sees the other's. Another user for another purpose belongs here, too.
#
# etl      makes its schemas (replica, history, marts, etl, and staging_* while it works) and owns, and so may drop, just those
# analyst  reads what is published, now and later, and nothing else: not the staging, not the books, no quarantine
# airflow  has its own database
#
# psql itself reads the passwords: as arguments they would stand in the list of processes, and in the server's log if a
# statement that has one fails.
set -eu
for secret in postgres_root_password postgres_password analyst_password airflow_database_password; do
    [ -s "/run/etl/$secret" ] || { echo "the secret $secret is missing" >&2; exit 1; }
done
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=postgres <<'SQL'
\set root `cat /run/etl/postgres_root_password`
\set etl `cat /run/etl/postgres_password`
\set analyst `cat /run/etl/analyst_password`
\set airflow `cat /run/etl/airflow_database_password`
SET client_min_messages = warning;
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
ALTER ROLE CURRENT_USER PASSWORD :'root';
SELECT format('CREATE ROLE %I LOGIN', name) FROM (VALUES ('etl'), ('analyst'), ('airflow')) AS wanted (name)
WHERE to_regrole(name) IS NULL \gexec
SELECT format('CREATE DATABASE %I ENCODING ''UTF8'' TEMPLATE template0', name)
FROM (VALUES ('etl'), ('airflow')) AS wanted (name) WHERE name NOT IN (SELECT datname FROM pg_database) \gexec
ALTER ROLE etl PASSWORD :'etl';
ALTER ROLE analyst PASSWORD :'analyst';
ALTER ROLE airflow PASSWORD :'airflow';
ALTER ROLE analyst SET default_transaction_read_only = on;
REVOKE ALL ON DATABASE etl FROM PUBLIC;
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE etl TO etl;
GRANT CONNECT ON DATABASE etl TO analyst;
REVOKE ALL ON DATABASE airflow FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE airflow TO airflow;
\connect etl
SET client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS replica AUTHORIZATION etl;
CREATE SCHEMA IF NOT EXISTS history AUTHORIZATION etl;
CREATE SCHEMA IF NOT EXISTS marts AUTHORIZATION etl;
GRANT USAGE ON SCHEMA replica, history, marts TO analyst;
-- A table is made in a schema of staging, where nobody else may look, and moved when it is published, with its rights.
ALTER DEFAULT PRIVILEGES FOR ROLE etl GRANT SELECT ON TABLES TO analyst;
\connect airflow
ALTER SCHEMA public OWNER TO airflow;
SQL
