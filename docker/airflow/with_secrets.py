"""Run a program with the secrets in its environment: each ``<secret:name>`` becomes what the file of that name holds.

Usage: with_secrets.py PROGRAM [ARGUMENT]...
"""

import json
import os
import re
import sys
from pathlib import Path

FOLDER = Path(os.environ.get("ETL_SECRETS", "/run/etl"))
PLACEHOLDER = re.compile(r"<secret:(\w+)>")


def secret(name: str) -> str:
    """Return a secret."""
    return (FOLDER / name).read_text().strip()


def filled(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment with all secrets in their places."""
    return {name: PLACEHOLDER.sub(lambda found: secret(found[1]), value) for name, value in environment.items()}


def write_passwords(path: Path) -> None:
    """Write the file that Airflow's simple auth manager checks passwords against, for its owner's eyes only."""
    path.touch(mode=0o600)
    users = {"admin": secret("airflow_admin_password"), "viewer": secret("airflow_viewer_password")}
    path.write_text(json.dumps(users))


def main() -> None:
    """Become the program."""
    environment = filled(dict(os.environ))
    if passwords := environment.get("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"):
        write_passwords(Path(passwords))
    os.execvpe(sys.argv[1], sys.argv[1:], environment)


if __name__ == "__main__":
    main()
