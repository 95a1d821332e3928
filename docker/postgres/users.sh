#!/bin/bash
# Runs once, when the database server is made. Both databases belong to the superuser, so that neither the pipeline nor
# Airflow can drop one; and neither sees the other's. Another user for another purpose belongs here, too.
#
# etl      makes its schemas (replica, marts, etl, and staging_* while it works) and owns, and so may drop, just those
# analyst  reads what is published, now and later, and nothing else: not the staging, not the books, no quarantine
# airflow  has its own database
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres \
    --set=etl="$(cat /run/etl/postgres_password)" --set=analyst="$(cat /run/etl/analyst_password)" \
    --set=airflow="$(cat /run/etl/airflow_database_password)" <<'SQL'
CREATE ROLE etl LOGIN PASSWORD :'etl';
CREATE ROLE analyst LOGIN PASSWORD :'analyst';
ALTER ROLE analyst SET default_transaction_read_only = on;
CREATE DATABASE etl ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE etl FROM PUBLIC;
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE etl TO etl;
GRANT CONNECT ON DATABASE etl TO analyst;
\connect etl
CREATE SCHEMA replica AUTHORIZATION etl;
CREATE SCHEMA marts AUTHORIZATION etl;
GRANT USAGE ON SCHEMA replica, marts TO analyst;
-- A table is made in a schema of staging, where nobody else may look, and moved when it is published, with its rights.
ALTER DEFAULT PRIVILEGES FOR ROLE etl GRANT SELECT ON TABLES TO analyst;

CREATE ROLE airflow LOGIN PASSWORD :'airflow';
CREATE DATABASE airflow ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE airflow FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE airflow TO airflow;
\connect airflow
ALTER SCHEMA public OWNER TO airflow;
SQL
