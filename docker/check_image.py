"""Run the Dockerfile's pip lines in empty environments, stage by stage, where there is no Docker to build the images.

Usage: check_image.py, by the Python that the images have. What was tried is then noted in ``docker/image-checked``, as
sha256sum reads it, so that it is known when it has to be tried again.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHECKED = ("Dockerfile", "pyproject.toml", "requirements.txt")


def stages() -> Iterator[tuple[str, str, list[str]]]:
    """Yield the name of each stage, its image, and the commands that use pip or Python."""
    lines = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    for stage in re.split(r"^FROM ", lines, flags=re.MULTILINE)[1:]:
        image, name = re.match(r"(\S+) AS (\S+)", stage).groups()  # type: ignore[union-attr]
        yield name, image, re.findall(r"^RUN (.*(?:pip|python) .*)$", stage, re.MULTILINE)


def check(name: str, image: str, commands: list[str], folder: Path) -> None:
    """Run the commands of a stage in an environment that has what the image has: Airflow, or nothing."""
    version = re.search(r":(?:slim-)?([\d.]+)", image)[1]  # type: ignore[index]
    if f"python{sys.version_info[0]}.{sys.version_info[1]}" not in image.replace(":", ""):
        sys.exit(f"the image {image} has another Python than this one, {sys.version.split()[0]}")
    venv.create(folder / "venv", with_pip=True)
    given = {**os.environ, "PATH": f"{folder / 'venv/bin'}{os.pathsep}{os.environ['PATH']}", "AIRFLOW_VERSION": version}
    given |= {"AIRFLOW_HOME": str(folder / "home"), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_QUIET": "1"}
    if "airflow" in image:
        commands = [f"pip install --constraint requirements.txt apache-airflow=={version}", *commands]
    for command in commands:
        print(f"{name}: {command}", flush=True)
        # Files that the next lines copy again are taken away by a line; what it imports must be what was installed.
        _copy(folder / "source")
        where = folder / "source" if "pip install" in command else folder
        subprocess.run(["sh", "-ec", command], cwd=where, env=given, check=True)


def _copy(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for file in filter(None, listed.split("\0")):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, folder / file)


def main() -> None:
    """Check all stages, and note what was checked."""
    for name, image, commands in stages():
        with tempfile.TemporaryDirectory() as folder:
            check(name, image, commands, Path(folder))
    sums = (f"{hashlib.sha256((ROOT / file).read_bytes()).hexdigest()}  {file}\n" for file in CHECKED)
    (ROOT / "docker/image-checked").write_text("".join(sums))


if __name__ == "__main__":
    main()
