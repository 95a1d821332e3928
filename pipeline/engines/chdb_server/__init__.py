"""ClickHouse's HTTP interface over chDB: one process owns the data, everybody reaches it as they reach a server.

chDB takes one process per folder, so a command line, tests, notebooks and Airflow can't each open it. This process
does, and speaks what ``clickhouse-connect`` and ``curl`` expect:
``python -m pipeline.engines.chdb_server --path FOLDER --port PORT --password-file FILE``.

* ``statements``: what kind of statement a request carries, and where its data begin.
* ``request``: its settings, parameters and data as they come over the network.
* ``credentials``: who may come in.
* ``access``: what nobody may do: reach files, programs and other servers.
* ``database``: running it in chDB, streaming in both directions.
* ``http``: the server and its responses.
"""
