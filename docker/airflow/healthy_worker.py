"""Succeed if the Celery worker of this container answers; its name is the container's."""

import socket
import sys

from airflow.providers.celery.executors.celery_executor import app

sys.exit(0 if app.control.ping([f"celery@{socket.gethostname()}"], timeout=15) else "the worker does not answer")
