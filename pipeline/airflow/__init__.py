"""What only Airflow's DAGs need: their defaults, Assets, tasks, log lines and alerts.

Nothing is imported here, and `defaults`, `assets` and `alerts` import next to nothing: DAG files are read very often.
"""
