"""The lake: what is published, and what MongoDB has, as lazy frames of Polars for notebooks and programs."""
