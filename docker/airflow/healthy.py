"""Succeed if Airflow's API server calls a component healthy, forty times cheaper than by `airflow jobs check`.

Usage: healthy.py scheduler|triggerer|dag_processor
"""

import json
import os
import sys
from urllib.request import urlopen

URL = os.environ.get("ETL_AIRFLOW_HEALTH", "http://airflow-apiserver:8080/api/v2/monitor/health")

with urlopen(URL, timeout=5) as answer:
    status = json.load(answer)[sys.argv[1]]["status"]
sys.exit(0 if status == "healthy" else f"{sys.argv[1]} is {status}")
