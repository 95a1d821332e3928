"""What libraries read from the environment when they are loaded: a program sets it before it imports them."""

import os

_VARIABLES = {
    # Polars' allocator (jemalloc) keeps what was freed for ten seconds, in which much goes through: up to a fifth of
    # the memory of a copy, and even ten milliseconds of it are a tenth where documents of megabytes come.
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0",
    # NumPy's linear algebra is not used; its threads would spin for a while when they are started, and keep memory.
    "OPENBLAS_NUM_THREADS": "1",
}


def tune_environment() -> None:
    """Let Polars give memory back at once and NumPy start no threads; what the environment says already goes first.

    ``etl`` and Airflow's tasks call it at their very start: it is too late once Polars and NumPy are loaded.
    """
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
