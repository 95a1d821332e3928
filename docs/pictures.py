"""Take all pictures of the docs anew, of a real run: the demo's report, and Airflow beside the same engines.

Usage: make pictures. What is already running is left alone: all of it happens in a folder that is removed afterwards.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
PATIENCE = 900  # seconds for Airflow's start and for each run
_ETL = [sys.executable, "-m", "pipeline.cli"]


def main() -> None:
    """Run the demo, write its report, start Airflow, run its DAGs, and take the pictures."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("there is no chromium; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, sync_playwright() as playwright:
        home = Path(folder)
        served = {"ETL_REPORTS_URL": "https://reports.example.org"}  # so that the note of a run is a link
        environment = {**os.environ, **served, "ETL_HOME": str(home / "etl")}
        report = home / "report.html"
        for command in (["demo", "--embedded"], ["report", "-o", str(report)]):
            subprocess.run([*_ETL, *command], env=environment, check=True, stdout=subprocess.DEVNULL)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        of_the_report(browser, report)
        with airflow(environment) as (address, password):
            of_airflow(browser, address, password)
        browser.close()


def of_the_report(browser: Browser, report: Path) -> None:
    """Take the report light, dark and on a phone."""
    views: dict[str, dict[str, Any]] = {
        "report-light": {"color_scheme": "light", "viewport": {"width": 1240, "height": 1120}},
        "report-dark": {"color_scheme": "dark", "viewport": {"width": 1240, "height": 1120}},
        "report-narrow": {"color_scheme": "light", "viewport": {"width": 360, "height": 1120}},
    }
    places = {"report-light": "", "report-dark": "#retention", "report-narrow": "#support"}
    for name, view in views.items():
        page = browser.new_context(**view).new_page()
        page.goto(report.as_uri() + places[name])
        page.wait_for_timeout(4_000)  # until what is in sight is drawn
        take(page, name)
        page.context.close()


def of_airflow(browser: Browser, address: str, password: str) -> None:
    """Run the DAGs, and take the pages of the UI that the docs speak of."""
    api = httpx.Client(base_url=address, timeout=60)
    token = api.post("/auth/token", json={"username": "admin", "password": password}).raise_for_status().json()
    api.headers["Authorization"] = f"Bearer {token['access_token']}"
    run(api, "generate_data", replace=True)
    run_id = run(api, "replicate")
    wait(lambda: is_over(api, "report"), "the report")
    (written,) = api.get("/api/v2/dags/report/dagRuns").raise_for_status().json()["dag_runs"]
    context = browser.new_context(viewport={"width": 1500, "height": 950}, color_scheme="light")
    context.add_cookies([{"name": "_token", "value": token["access_token"], "url": address}])
    page = context.new_page()
    pages = {
        "airflow-dags": "/dags",
        "airflow-replicate-graph": f"/dags/replicate/runs/{run_id}",
        "airflow-mapped-loads": f"/dags/replicate/runs/{run_id}/tasks/load/mapped",
        "airflow-assets": "/assets",
        "airflow-report-note": f"/dags/report/runs/{written['dag_run_id']}",
    }
    for name, path in pages.items():
        page.goto(address + path)
        page.wait_for_timeout(8_000)  # the UI asks for its data in several steps
        if name == "airflow-replicate-graph":
            page.get_by_label(re.compile("Show Graph")).first.click()
            page.wait_for_timeout(4_000)
        take(page, name)
    context.close()


def take(page: Page, name: str) -> None:
    """Write a picture, and say how large it is."""
    to = IMAGES / f"{name}.png"
    page.screenshot(path=to)
    print(f"{to.relative_to(ROOT)}: {to.stat().st_size // 1024} KiB", flush=True)


@contextmanager
def airflow(environment: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Run Airflow beside the engines, and give its address and the admin's password."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pipeline.airflow"]
    chosen = {**environment, "AIRFLOW__API__PORT": str(port), "PYTHONUNBUFFERED": "1"}
    chosen["AIRFLOW__API__BASE_URL"] = f"http://localhost:{port}"
    process = subprocess.Popen(command, env=chosen, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        said = ""
        while "Ctrl-C" not in said:
            said += process.stdout.readline() or sys.exit(f"Airflow did not start: {said}")
        found = re.search(r"admin password: (\S+)", said)
        assert found, said
        yield f"http://localhost:{port}", found[1]
    finally:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)


def run(api: httpx.Client, dag_id: str, **conf: Any) -> str:
    """Start a run and wait until it has succeeded."""
    wait(lambda: api.get(f"/api/v2/dags/{dag_id}").status_code == httpx.codes.OK, f"the DAG {dag_id}")
    answer = api.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf}).raise_for_status()
    wait(lambda: is_over(api, dag_id), f"a run of {dag_id}")
    return str(answer.json()["dag_run_id"])


def is_over(api: httpx.Client, dag_id: str) -> bool:
    """Return whether a run of a DAG has succeeded; one that failed ends it all."""
    states = {one["state"] for one in api.get(f"/api/v2/dags/{dag_id}/dagRuns").raise_for_status().json()["dag_runs"]}
    if "failed" in states:
        sys.exit(f"a run of {dag_id} has failed")
    return states == {"success"}


def wait(until: Any, what: str) -> None:
    """Wait until something is so."""
    give_up = time.monotonic() + PATIENCE
    while not until():
        if time.monotonic() > give_up:
            sys.exit(f"waited too long for {what}")
        time.sleep(2)


if __name__ == "__main__":
    main()
