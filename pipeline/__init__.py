"""The edges (MongoDB, PostgreSQL, ClickHouse, embedded engines, settings) and the use cases built on them."""

import os

# Polars' allocator (jemalloc) keeps what was freed for ten seconds, in which much goes through: up to a fifth of the
# memory of a copy, and even ten milliseconds of it are a tenth where documents of megabytes come. It reads this when
# Polars is loaded, so it stands before every import.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")
# NumPy's linear algebra is not used; its threads would spin for a while when they are started, and keep memory.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
