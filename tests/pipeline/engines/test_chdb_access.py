"""The doors of the embedded ClickHouse: who may come in, and what nobody may do with SQL once inside."""

import gzip
import http.client
import os
import sys
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import clickhouse_connect
import lz4.frame
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from pipeline.engines.chdb_server.access import forbidden, keep_default_database, may_be_forbidden
from pipeline.engines.chdb_server.request import _DECODERS, _PIECE, RequestError, _bounded, _inflate
from pipeline.engines.chdb_server.statements import read_from
from pipeline.engines.embedded import Uris

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SECRET = "what nobody may read"


@pytest.fixture
def client(engine_uris: Uris) -> Iterator[Client]:
    with closing(clickhouse_connect.get_client(dsn=engine_uris.clickhouse)) as opened:
        opened.command("DROP DATABASE IF EXISTS doors")
        opened.command("CREATE DATABASE doors")
        yield opened
        opened.command("DROP DATABASE doors SYNC")


@pytest.fixture
def knock(engine_uris: Uris) -> Callable[..., tuple[int, bytes, Any]]:
    """Return a function that sends a request with exactly these headers."""
    place = urlsplit(engine_uris.clickhouse)

    def knock(
        query: str = "SELECT 1", method: str = "POST", target: str = "/", body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", place.port or 0, timeout=30)
        with closing(connection):
            connection.putrequest(method, target, skip_host="Host" in headers)
            sent = (body or query.encode()) if method == "POST" else b""
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.putheader("Content-Length", str(len(sent)))
            connection.endheaders(sent)
            with closing(connection.getresponse()) as response:
                return response.status, response.read(), response.headers

    return knock


@pytest.fixture
def key(engine_uris: Uris) -> dict[str, str]:
    password = urlsplit(engine_uris.clickhouse).password or ""
    return {"Authorization": "Basic " + b64encode(f"default:{password}".encode()).decode()}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text(SECRET)
    return tmp_path / "secret.txt"


# ---------------------------------------------------------------- who may come in


def test_only_who_knows_the_password_comes_in(engine_uris: Uris, knock: Any, key: dict[str, str]) -> None:
    password = urlsplit(engine_uris.clickhouse).password or ""
    assert len(password) >= 24
    assert knock(**key)[:2] == (200, b"1\n")
    assert knock(X_ClickHouse_User="default", X_ClickHouse_Key=password)[:2] == (200, b"1\n")
    wrong = [
        {},
        {"X_ClickHouse_Key": "no"},
        {"X_ClickHouse_User": "other", "X_ClickHouse_Key": password},
        {"Authorization": "Basic nonsense!"},
        {"Authorization": "Basic " + b64encode(b"default:").decode()},
        {"Authorization": f"Bearer {password}"},
        {"target": f"/?user=default&password={password}"},
        {"method": "GET", "target": f"/?query=SELECT+1&password={password}"},
    ]
    for given in wrong:
        status, body, headers = knock(**given)
        assert (status, headers["X-ClickHouse-Exception-Code"]) == (403, "516"), given
        assert body.startswith(b"Code: 516. DB::Exception: default: Authentication failed")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:8123"},
        {"Host": ""},
        {"Origin": "http://localhost"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_no_web_page_comes_in_even_with_the_password(knock: Any, key: dict[str, str], headers: dict[str, str]) -> None:
    for request in ({"query": "SELECT 1"}, {"method": "GET", "target": "/?query=SELECT+1"}):
        status, body, _ = knock(**request, **key, **headers)
        assert (status, b"refused" in body) == (403, True)


@pytest.mark.parametrize("headers", [{"Host": "localhost:1"}, {"Host": "[::1]"}, {"Sec_Fetch_Site": "same-origin"}])
def test_what_this_machine_sends_comes_in(knock: Any, key: dict[str, str], headers: dict[str, str]) -> None:
    assert knock(**key, **headers)[0] == 200


def test_a_get_only_reads(client: Client, knock: Any, key: dict[str, str]) -> None:
    client.command("CREATE TABLE doors.t (a Int8) ENGINE = MergeTree ORDER BY a")
    for statement in ("INSERT INTO doors.t VALUES (1)", "DROP TABLE doors.t", "CREATE TEMPORARY TABLE x (a Int8)"):
        for extra in ("", "&readonly=0", "&readonly=2"):
            status, body, _ = knock(method="GET", target=f"/?query={quote(statement)}{extra}", **key)
            assert (status, b"Code: 164" in body) == (500, True), (statement, extra, body)
    assert b"readonly" in knock(method="GET", target="/?query=SELECT+1+SETTINGS+max_threads=1", **key)[1]


def test_control_characters_are_not_echoed(knock: Any, key: dict[str, str]) -> None:
    for target in ("/?query_id=a%0D%0ASet-Cookie:%20x", "/?default_format=TSV%0D%0AX:%20y", "/?query_id=%1b[31m"):
        status, body, headers = knock(target=target, **key)
        assert (status, b"can't be printed" in body) == (501, True)
        assert not {"Set-Cookie", "X"} & set(headers)


# ---------------------------------------------------------------- what nobody may do

READS = [
    "SELECT * FROM file('{secret}', 'LineAsString')",
    "SELECT * FROM FiLe/* x */('{secret}', 'LineAsString')",
    "SELECT * FROM \"file\"('{secret}', LineAsString)",
    "SELECT * FROM `{secret}`",
    "SELECT * FROM default.`{secret}`",
    "SELECT * FROM _local.`{secret}`",
    "SELECT file('{secret}')",
    "SELECT `f\\x69le` -- x\n (\n'{secret}')",
    "WITH file('{secret}') AS x SELECT x",
    "SELECT arrayMap(file, ['{secret}'])",
    "SELECT arrayMap(`file`, ['{secret}'])",
    "SELECT * APPLY(file) FROM (SELECT '{secret}')",
    "SELECT * APPLY file FROM (SELECT '{secret}')",
    "SELECT COLUMNS('.*') APPLY(x -> file(x)) FROM (SELECT '{secret}')",
    "SELECT 1; SELECT file('{secret}')",
    "EXPLAIN SELECT file('{secret}')",
    "CREATE VIEW doors.v AS SELECT * FROM file('{secret}', 'LineAsString')",
    "CREATE VIEW doors.v AS SELECT file('{secret}')",
    "CREATE TABLE doors.x (a String DEFAULT file('{secret}')) ENGINE = MergeTree ORDER BY ()",
    "ALTER TABLE doors.t ADD COLUMN b String DEFAULT file('{secret}')",
    "ALTER TABLE doors.t UPDATE a = file('{secret}') WHERE 1",
    "INSERT INTO doors.t FROM INFILE '{secret}' FORMAT LineAsString",
    "INSERT INTO doors.t SELECT file('{secret}')",
    "INSERT INTO doors.t VALUES (file(assumeNotNull('{secret}')))",
    "SELECT * FROM format(Values, 'a String', '(file(assumeNotNull(''{secret}'')))')",
    "SELECT * FROM eval('SELECT file(''{secret}'')') SETTINGS allow_experimental_eval_table_function = 1",
    "CREATE FUNCTION evil AS (x) -> file(x)",
    "SELECT * FROM filesystem('{folder}')",
    "SELECT 1 FORMAT Template SETTINGS format_template_resultset = '{secret}'",
    "SELECT 1 FORMAT Protobuf SETTINGS format_schema = '{secret}:X'",
    "SELECT * FROM Python(SECRET) SETTINGS allow_python_table_function = 1",
    "SELECT * FROM sqlite('{secret}', 'a')",
    "CREATE TABLE doors.x (a String) ENGINE = File(TSV, '{secret}')",
    "CREATE TEMPORARY TABLE x (a String) ENGINE = `File`(TSV, '{secret}')",
    "CREATE TABLE doors.x (a String) ENGINE = FileLog('{folder}', TSV)",
    "CREATE DATABASE x ENGINE = Filesystem('/')",
    "CREATE DATABASE x ENGINE = SQLite('{secret}')",
    "ATTACH TABLE doors.x FROM '{folder}' (a String) ENGINE = MergeTree ORDER BY ()",
    "RESTORE TABLE doors.t FROM File('{folder}/b')",
]
RUNS_OR_CALLS = [
    "SELECT * FROM executable('{secret}', TSV, 'a String', (SELECT 1))",
    "CREATE TABLE doors.x (a String) ENGINE = Executable('{secret}', TSV)",
    "CREATE TABLE doors.x (a String) ENGINE = /**/ `ExecutablePool`('{secret}', TSV)",
    "SELECT * FROM url('http://127.0.0.1:1/', LineAsString)",
    "SELECT * FROM url('file://{secret}', LineAsString)",
    "SELECT * FROM s3('http://127.0.0.1:1/bucket/x', LineAsString)",
    "SELECT * FROM gcs('http://127.0.0.1:1/bucket/x', LineAsString)",
    "SELECT * FROM remote('127.0.0.1:1', system, one)",
    "SELECT * FROM cluster(default, system, one)",
    "SELECT * FROM urlCluster('default', 'http://127.0.0.1:1/', LineAsString)",
    "SELECT * FROM mongodb('127.0.0.1:1', 'a', 'b', 'c', 'd', 'x String')",
    "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM redis('127.0.0.1:1', 'a', 'a String')",
    "CREATE TABLE doors.x (a String) ENGINE = URL('http://127.0.0.1:1/', TSV)",
    "CREATE TABLE doors.x (a String) ENGINE = S3('http://127.0.0.1:1/bucket/x', TSV)",
    "CREATE TABLE doors.x (a String) ENGINE = MongoDB('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "CREATE TABLE doors.x (a String) ENGINE = PostgreSQL('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "CREATE DATABASE x ENGINE = MySQL('127.0.0.1:1', 'a', 'b', 'c')",
    "CREATE TABLE doors.x (a Int8) ENGINE = MergeTree ORDER BY a "
    "SETTINGS disk = disk(type = web, endpoint = 'http://127.0.0.1:1/')",
    "ALTER TABLE doors.t MODIFY SETTING disk = /**/ `disk`(type = local, path = '{folder}/')",
    "BACKUP TABLE doors.t TO S3('http://127.0.0.1:1/bucket/x')",
    "SYSTEM SHUTDOWN",
    "CREATE USER x",
    "CREATE NAMED COLLECTION x AS a = 1",
    *(
        f"CREATE DICTIONARY doors.x (k UInt64, v String) PRIMARY KEY k SOURCE({source}) LAYOUT(FLAT()) LIFETIME(0)"
        for source in (
            "EXECUTABLE(COMMAND 'cat {secret}' FORMAT TSV)",
            "/**/ executable (COMMAND 'cat {secret}' FORMAT TSV)",
            "FILE(PATH '{secret}' FORMAT TSV)",
            "HTTP(URL 'http://127.0.0.1:1/' FORMAT TSV)",
            "CLICKHOUSE(QUERY 'SELECT 1, file(''{secret}'')')",
            "CLICKHOUSE(TABLE 't' WHERE 'file(''{secret}'') = 1')",
            "CLICKHOUSE(HOST '127.0.0.1' PORT 1 TABLE 't')",
            "POSTGRESQL(HOST '127.0.0.1' PORT 1 USER 'a' PASSWORD 'b' DB 'c' TABLE 'd')",
            "MONGODB(HOST '127.0.0.1' PORT 1 USER 'a' PASSWORD 'b' DB 'c' COLLECTION 'd')",
        )
    ),
]
WRITES = [
    "SELECT 1 INTO OUTFILE '{folder}/out'",
    "SELECT 1 inTO/**/OUTfile '{folder}/out' APPEND",
    "SHOW DATABASES INTO OUTFILE '{folder}/out'",
    "EXPLAIN SELECT 1 INTO OUTFILE '{folder}/out'",
    "INSERT INTO FUNCTION file('{folder}/out', 'TSV', 'a Int8') VALUES (1)",
    "INSERT INTO FUNCTION file('{folder}/out', 'TSV', 'a Int8') SELECT 1",
    "INSERT INTO doors.t SETTINGS input_format_record_errors_file_path = '{folder}/out' FORMAT CSV 1",
    "SELECT 1 FORMAT Protobuf SETTINGS output_format_schema = '{folder}/out'",
    "BACKUP TABLE doors.t TO File('{folder}/out')",
    "BACKUP TABLE doors.t TO Disk('default', 'out')",
    "BACKUP TABLE doors.t TO Disk('backups', '../../out')",
]


def test_sql_reaches_no_file_no_program_and_no_other_server(
    client: Client, knock: Any, key: dict[str, str], secret: Path
) -> None:
    client.command("CREATE TABLE doors.t (a String) ENGINE = MergeTree ORDER BY ()")
    for template in (*READS, *RUNS_OR_CALLS, *WRITES):
        statement = template.format(secret=secret, folder=secret.parent)
        status, body, _ = knock(statement, **key)
        assert status in (400, 404, 500), (statement, body)
        assert SECRET.encode() not in body, statement
    assert os.listdir(secret.parent) == [secret.name]
    assert client.query("SELECT count() FROM doors.t").result_rows == [(0,)]
    names = client.query("SELECT name FROM system.tables WHERE database = 'doors'").result_rows
    assert names == [("t",)]


def test_what_people_need_is_allowed(client: Client) -> None:
    for statement in (
        "CREATE TABLE doors.t (a String, file String, path String) ENGINE = MergeTree ORDER BY a",
        "INSERT INTO doors.t (file, a) VALUES ('INTO OUTFILE', 'file(x)'), ('disk(', 'b')",
        "CREATE VIEW doors.v AS SELECT file, max(file) AS most FROM doors.t GROUP BY file",
        "CREATE DICTIONARY doors.d (a String, file String) PRIMARY KEY a SOURCE(CLICKHOUSE(DB 'doors' TABLE 't')) "
        "LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)",
        "CREATE MATERIALIZED VIEW doors.m REFRESH EVERY 1 HOUR ENGINE = MergeTree ORDER BY () AS SELECT a FROM doors.t",
        "SYSTEM REFRESH VIEW doors.m",
        "BACKUP TABLE doors.t TO Disk('backups', 'of_tests')",
        "RESTORE TABLE doors.t AS doors.t2 FROM Disk('backups', 'of_tests')",
        "EXCHANGE TABLES doors.t AND doors.t2",
        "DELETE FROM doors.t WHERE a = 'b'",
    ):
        client.command(statement)
    assert client.query("SELECT most FROM doors.v").result_rows == [("INTO OUTFILE",)]
    assert client.command("SELECT dictGet('doors.d', 'file', tuple('file(x)'))") == "INTO OUTFILE"


def test_a_statement_is_read_as_its_parser_writes_it() -> None:
    assert forbidden("SELECT file FROM t WHERE profile(x) = 'file(' AND a = 'it\\'s INTO OUTFILE'") is None
    assert forbidden("SELECT 'it\\'s' INTO OUTFILE 'x'") == "INTO OUTFILE"
    assert forbidden("BACKUP TABLE t TO Disk('backups', 'x')") is None


def test_only_what_may_be_forbidden_is_given_to_the_parser_first() -> None:
    assert not may_be_forbidden("SELECT name FROM system.tables WHERE database = 'replica'")
    for sql in ("SELECT `f\\x69le`('x')", "SELECT 1 INTO/**/OutFile 'x'", "SELECT 1; DROP TABLE t", "x DISK('a')"):
        assert may_be_forbidden(sql), sql


# ---------------------------------------------------------------- inserts that fail, and bodies that grow


@pytest.mark.parametrize("how", ["body", "select"])
def test_an_insert_that_fails_late_is_told(client: Client, how: str) -> None:
    client.command("CREATE TABLE doors.checked (a Int64, CONSTRAINT small CHECK a < 100) ENGINE = MergeTree ORDER BY a")
    client.command("CREATE TABLE doors.seen (a Int64) ENGINE = MergeTree ORDER BY a")
    throwing = "SELECT throwIf(a > 9) FROM doors.seen"
    client.command(f"CREATE MATERIALIZED VIEW doors.m ENGINE = MergeTree ORDER BY () AS {throwing}")
    client.command("CREATE TABLE doors.parts (a Int64) ENGINE = MergeTree PARTITION BY a ORDER BY a")
    data = b"".join(b"%d\n" % n for n in range(20_000))
    inserts: dict[str, Callable[[str], object]] = {
        "body": lambda table: client.raw_insert(table, ["a"], data, fmt="CSV"),
        "select": lambda table: client.command(f"INSERT INTO {table} SELECT number FROM numbers(20000)"),
    }
    for table, code in (("checked", 469), ("seen", 395), ("parts", 252)):
        with pytest.raises(DatabaseError, match=f"Code: {code}. DB::Exception"):
            inserts[how](f"doors.{table}")
    assert client.command("SELECT count() FROM doors.checked") == 0
    assert client.command("SELECT count() FROM doors.parts") == 0


def test_where_an_insert_reads_from() -> None:
    file = Path("incoming/x")
    read = "FROM INFILE 'incoming/x' COMPRESSION 'none'"
    assert read_from("INSERT INTO t (a) FORMAT CSV", file) == f"INSERT INTO t (a) {read} FORMAT CSV"
    settings = "SETTINGS max_threads = 1 FORMAT CSV"
    into = "INSERT INTO settings.SETTINGS"
    assert read_from(f"{into} {settings}", file) == f"{into} {read} {settings}"


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
}


@pytest.mark.parametrize("encoding", COMPRESSORS)
def test_a_packed_body_is_unpacked_a_piece_at_a_time_and_to_a_bound(
    encoding: str, knock: Any, key: dict[str, str]
) -> None:
    size = 40 * _PIECE
    packed = COMPRESSORS[encoding](bytes(size))
    sizes = [len(piece) for piece in _inflate(iter([packed]), _DECODERS[encoding])]
    assert (sum(sizes), max(sizes)) == (size, _PIECE)
    cut = [packed[at : at + 7] for at in range(0, len(packed), 7)] if len(packed) < 500_000 else [packed]
    assert sum(len(piece) for piece in _inflate(iter(cut), _DECODERS[encoding])) == size
    with pytest.raises(RequestError, match="longer than 10,485,760 bytes"):
        sum(len(piece) for piece in _bounded(_inflate(iter([packed]), _DECODERS[encoding]), 10 * _PIECE))
    status, body, _ = knock(body=packed, Content_Encoding=encoding, **key)
    assert (status, b"longer than" in body) == (501, True)


def test_the_tables_of_an_earlier_version_stay_in_the_default_database(tmp_path: Path) -> None:
    uuid = "a91356e0-d72a-4285-a508-07d7eb244079"
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "default").symlink_to(f"../store/a91/{uuid}")
    for _ in range(2):
        keep_default_database(tmp_path)
        assert uuid in (tmp_path / "metadata" / "default.sql").read_text()
        assert not (tmp_path / "metadata" / "default").is_symlink()
