"""Succeed if a component of Airflow is healthy, forty times cheaper than by `airflow jobs check`.

Usage: healthy.py triggerer|dag_processor   what the API server says of it
       healthy.py URL                       whether it answers there
"""

import json
import os
import sys
from urllib.request import urlopen

URL = os.environ.get("ETL_AIRFLOW_HEALTH", "http://airflow-apiserver:8080/api/v2/monitor/health")


def answers(url: str) -> str | None:
    """Return what is wrong with what answers at an address; None if nothing is. An error of HTTP is raised."""
    with urlopen(url, timeout=5):
        return None


def said_of(component: str) -> str | None:
    """Return what is wrong with a component, as the API server knows it; None if nothing is."""
    with urlopen(URL, timeout=5) as answer:
        status = json.load(answer)[component]["status"]
    return None if status == "healthy" else f"{component} is {status}"


asked = sys.argv[1]
sys.exit(answers(asked) if "://" in asked else said_of(asked))
