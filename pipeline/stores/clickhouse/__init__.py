"""ClickHouse: a target."""
