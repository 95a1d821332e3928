"""Development servers from wheels: MongoDB, PostgreSQL and ClickHouse without Docker or root."""
