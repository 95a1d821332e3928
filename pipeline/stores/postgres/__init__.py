"""PostgreSQL: a target, and where the control tables are."""
