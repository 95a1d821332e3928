"""Import what the tasks need in the process that forks the workers, which then need not do it for each task.

Airflow's ``airflow_local_settings.py`` imports this module, which every component does. Those that run no tasks are
spared the 190 MB.
"""

import sys

# Words of the commands; LocalExecutor's workers are forks of the scheduler, but on macOS.
_RUN_TASKS = {"scheduler", "worker"}

if _RUN_TASKS & set(sys.argv):
    # Imported and not used: the threads that compute must not have started when the workers fork. The import itself
    # starts a few idle ones of Polars and its allocator, which the forks do without.
    # The first three read documents and hold rows against contracts; others import them when they come to some, which
    # would be a quarter of a second of each task.
    import pandera.backends.polars.builtin_checks
    import pandera.polars  # noqa: F401
    import pymongoarrow.api  # noqa: F401

    import pipeline.airflow.generate
    import pipeline.airflow.marts
    import pipeline.airflow.replicate
    import pipeline.airflow.sync
    import pipeline.airflow.verify  # noqa: F401
