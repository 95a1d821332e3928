#!/bin/bash
# Starts what it is told, as the image does. The members of a replica set know each other by a key file, also where there
# is but one, and mongod takes it only from a file that nobody else can read.
set -eu
install --mode=0400 --owner=mongodb --group=mongodb /run/etl/mongo_key /etc/mongo.key
exec docker-entrypoint.sh "$@"
