"""WHAT the marts are: one module per mart."""
