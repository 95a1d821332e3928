"""WHAT the data is: one module per collection, each the single source of every schema."""
