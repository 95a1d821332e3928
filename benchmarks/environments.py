"""An environment of its own for each other tool, installed from the package index when it is first needed."""

import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).with_name(".envs")

_ARROW = (
    "pymongo==4.20.0",
    "pymongoarrow==1.15.0",
    "pyarrow==25.0.0",
    "adbc-driver-manager==1.13.0",
    "adbc-driver-postgresql==1.13.0",
    "orjson==3.13.0",
)
# Exact versions, so that two runs compare the same things. Newer releases of ingestr (1.x) and of sling's wheel
# download their program from elsewhere at the first start; these carry it inside.
PACKAGES: dict[str, tuple[str, ...]] = {
    "handwritten": ("pymongo==4.20.0", "psycopg[binary]==3.3.9"),
    "arrow": _ARROW,
    "dlt": ("dlt[postgres,parquet]==1.31.0", *_ARROW),
    "ingestr": ("ingestr==0.15.9",),
    "polars_mongo": ("polars-mongo==0.3.1", "polars==2.1.0"),
    "sling": ("sling-linux-amd64==1.4.11",),
}


def environment(name: str) -> Path:
    """Return the ``bin`` folder of an environment, after installing it if it is missing or of other versions."""
    folder, wanted = FOLDER / name, list(PACKAGES[name])
    note = folder / "packages.json"
    if not note.exists() or json.loads(note.read_text()) != wanted:
        print(f"installing {', '.join(wanted)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *wanted], check=True)
        note.write_text(json.dumps(wanted))
    return folder / "bin"
