#!/bin/bash
# Runs once, when the database server is made: a user and a database for the pipeline, and for Airflow what it remembers.
# Neither is a superuser, and neither sees the other's. Another user for another purpose belongs here, too.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres \
    --set=etl="$(cat /run/etl/postgres_password)" --set=airflow="$(cat /run/etl/airflow_database_password)" <<'SQL'
CREATE ROLE etl LOGIN PASSWORD :'etl';
CREATE DATABASE etl OWNER etl ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE etl FROM PUBLIC;
CREATE ROLE airflow LOGIN PASSWORD :'airflow';
CREATE DATABASE airflow OWNER airflow ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE airflow FROM PUBLIC;
SQL
