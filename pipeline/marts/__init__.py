"""Marts: computed in Polars, in pieces that fit into memory, and published."""
