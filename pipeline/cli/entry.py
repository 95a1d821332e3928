"""The command ``etl`` from its first instant: signals are heeded while the rest is imported."""

import signal
import sys

from pipeline.runtime.environment import tune_environment
from pipeline.runtime.signals import end, install_signal_handlers


def main() -> None:
    """Run ``etl`` with the arguments of this process."""
    as_json = "--json" in sys.argv
    install_signal_handlers(as_json=as_json)
    tune_environment()
    try:
        from pipeline.cli.app import main as run
    except KeyboardInterrupt:
        end(signal.SIGINT, as_json=as_json)
    run()
