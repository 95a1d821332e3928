"""``python -m pipeline.airflow``: all of Airflow on this machine, beside the embedded engines, until Ctrl-C."""

import sys
from pathlib import Path

from pipeline.airflow.local import serve
from pipeline.cli.outcome import failed


def main() -> int:
    """Serve the folder ``dags`` under the current one; return the exit code."""
    try:
        serve(Path("dags"))
    except KeyboardInterrupt:
        return 0
    except Exception as error:
        return failed(error, as_json=False, debug=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
