"""The edges (MongoDB, PostgreSQL, ClickHouse, embedded engines, settings) and the use cases built on them."""
