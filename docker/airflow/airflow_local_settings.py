"""Airflow imports this in each component: what tasks need is then there before workers fork."""

import pipeline.airflow.preload  # noqa: F401
