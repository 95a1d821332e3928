"""The HTTP face of chDB, through the client that is used against a real ClickHouse, and as curl would see it."""

import base64
import gzip
import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import clickhouse_connect
import lz4.frame
import polars as pl
import psutil
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from pipeline.engines.chdb_server.statements import find_insert, output_format
from pipeline.engines.embedded import ClickHouse
from tests import chdb
from tests.ports import free_port

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PASSWORD = "known"
BASIC = "Basic " + base64.b64encode(f"default:{PASSWORD}".encode()).decode()
NEW_YEAR = datetime(2024, 1, 1, 12, 30, 15, 123000, tzinfo=UTC)


@pytest.fixture(scope="module")
def engine(starts_engines: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    engine = ClickHouse(tmp_path_factory.mktemp("a home"))
    engine.folder.mkdir()
    engine.password_file.write_text(PASSWORD)
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def served(engine: ClickHouse) -> tuple[int, psutil.Process]:
    """Start the server; return its port and its process: the child that we had not before."""
    before = set(psutil.Process().children())
    port = engine.start()
    (server,) = set(psutil.Process().children()) - before
    return port, server


@pytest.fixture(scope="module")
def port(served: tuple[int, psutil.Process]) -> int:
    return served[0]


def _client(port: int, **options: Any) -> Client:
    return clickhouse_connect.get_client(host="127.0.0.1", port=port, password=PASSWORD, **options)


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    """A client of its own database."""
    with closing(_client(port, database="default")) as opened:
        opened.command("DROP DATABASE IF EXISTS work")
        opened.command("CREATE DATABASE work")
        opened.database = "work"
        yield opened


def _post(port: int, target: str, body: bytes | Iterator[bytes] = b"", **headers: str) -> tuple[int, bytes, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    named = {"Authorization": BASIC} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", target, body, named, encode_chunked=not isinstance(body, bytes))
    with closing(connection), closing(connection.getresponse()) as response:
        return response.status, response.read(), response.headers


# ---------------------------------------------------------------- values


TYPES = {
    "id": "UInt64",
    "at": "DateTime64(3, 'UTC')",
    "second": "DateTime('UTC')",
    "money": "Decimal(38, 4)",
    "tags": "Array(String)",
    "counts": "Array(Int64)",
    "maybe": "Nullable(Int32)",
    "maybe_text": "Nullable(String)",
    "kind": "LowCardinality(String)",
    "maybe_kind": "LowCardinality(Nullable(String))",
    "flag": "Bool",
    "real": "Float64",
}
FULL = NEW_YEAR.replace(microsecond=0)
LAST = datetime(2299, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)
LARGE = Decimal(10**33) + Decimal("0.9999")
ROWS = [
    [1, NEW_YEAR, FULL, Decimal("12.3400"), ["a", "it's\t\\"], [1, -(2**63)], None, None, "k", None, True, 0.1],
    [2, datetime(1900, 1, 1, tzinfo=UTC), FULL, Decimal("-0.0001"), [], [], 5, "", "", "é", False, -0.0],
    [3, LAST, FULL, LARGE, [""], [0], -(2**31), "x\0y", "k", "z", True, 1e300],
]


@pytest.fixture
def typed(client: Client) -> Client:
    columns = ", ".join(f"{name} {kind}" for name, kind in TYPES.items())
    client.command(f"CREATE TABLE typed ({columns}) ENGINE = MergeTree ORDER BY id")
    return client


def _aware(rows: Any) -> list[list[object]]:
    return [[v.replace(tzinfo=UTC) if isinstance(v, datetime) else v for v in row] for row in rows]


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_values_survive_insert_and_query(typed: Client, port: int, compress: str | bool) -> None:
    with closing(_client(port, database="work", compress=compress)) as other:
        summary = other.insert("typed", ROWS, column_names=list(TYPES))
        assert summary.written_rows == len(ROWS)
        assert _aware(other.query("SELECT * FROM typed ORDER BY id").result_rows) == ROWS


def test_values_survive_arrow_both_ways(typed: Client) -> None:
    typed.insert("typed", ROWS, column_names=list(TYPES))
    table = typed.query_arrow("SELECT * FROM typed ORDER BY id")
    assert table["at"].to_pylist() == [row[1] for row in ROWS]
    assert table["money"].to_pylist() == [row[3] for row in ROWS]
    assert table["tags"].to_pylist() == [row[4] for row in ROWS]
    typed.command("TRUNCATE TABLE typed")
    assert typed.insert_arrow("typed", table).written_rows == len(ROWS)
    assert _aware(typed.query("SELECT * FROM typed ORDER BY id").result_rows) == ROWS


def test_polars_frames_go_in_as_arrow(client: Client) -> None:
    client.command("CREATE TABLE frame (id Int64, text String, at DateTime64(3, 'UTC')) ENGINE = MergeTree ORDER BY id")
    frame = pl.DataFrame({"id": range(200_000)}).with_columns(
        text=pl.col("id").cast(pl.String) + "é", at=pl.lit(NEW_YEAR) + pl.duration(milliseconds=pl.col("id"))
    )
    for part in frame.iter_slices(50_000):
        client.insert_arrow("frame", part.to_arrow(compat_level=pl.CompatLevel.oldest()))
    found = client.query("SELECT count(), uniqExact(text), max(at), sum(id) FROM frame").result_rows[0]
    last = (NEW_YEAR + timedelta(milliseconds=199_999)).replace(tzinfo=None)
    assert found == (200_000, 200_000, last, sum(range(200_000)))


# ---------------------------------------------------------------- results


@pytest.mark.parametrize("rows", [0, 1, 1_000_000])
def test_arrow_streams_are_whole(client: Client, rows: int) -> None:
    query = f"SELECT number AS n, toString(number) AS s, [number] AS a FROM numbers({rows})"
    with client.query_arrow_stream(query) as batches:
        total = [(batch.num_rows, sum(batch["n"].to_pylist())) for batch in batches]
    assert sum(count for count, _ in total) == rows
    assert sum(part for _, part in total) == sum(range(rows))


def test_an_arrow_stream_is_one_valid_stream_even_with_dictionaries(client: Client) -> None:
    query = "SELECT toLowCardinality(toString(number % 70000)) AS s FROM numbers(300000)"
    settings = {"output_format_arrow_low_cardinality_as_dictionary": 1}
    raw = client.raw_query(query, fmt="ArrowStream", settings=settings)
    table = pa.ipc.open_stream(raw).read_all()
    assert table["s"].to_pylist() == [str(n % 70000).encode() for n in range(300_000)] or (
        table["s"].cast(pa.string()).to_pylist() == [str(n % 70000) for n in range(300_000)]
    )


def test_an_empty_arrow_stream_has_its_schema(client: Client) -> None:
    raw = client.raw_query("SELECT toInt32(1) AS one WHERE 0", fmt="ArrowStream")
    assert pa.ipc.open_stream(raw).read_all().schema == pa.schema([pa.field("one", pa.int32(), nullable=False)])


def test_sparse_filters_lose_no_rows(client: Client) -> None:
    # chDB takes a piece without rows for the end of a stream: blocks that a filter empties must not look like one.
    found = client.query("SELECT number FROM numbers(20000000) WHERE number % 1000003 = 7 SETTINGS max_threads = 1")
    assert [row[0] for row in found.result_rows] == list(range(7, 20_000_000, 1_000_003))


@pytest.mark.parametrize("data_format", ["JSON", "CSVWithNames", "Parquet", "TSV", "JSONEachRow", "Arrow"])
def test_formats_are_whole_documents(client: Client, port: int, data_format: str) -> None:
    query = "SELECT number AS n FROM numbers(200000)"
    raw = client.raw_query(query, fmt=data_format)
    readers: dict[str, Callable[[], int]] = {
        "JSON": lambda: len(pl.read_json(raw)["data"].explode()),
        "CSVWithNames": lambda: pl.read_csv(raw)["n"].n_unique(),
        "Parquet": lambda: pl.read_parquet(raw)["n"].n_unique(),
        "TSV": lambda: len(set(raw.splitlines())),
        "JSONEachRow": lambda: pl.read_ndjson(raw)["n"].n_unique(),
        "Arrow": lambda: pl.from_arrow(pa.ipc.open_file(raw).read_all())["n"].n_unique(),
    }
    assert readers[data_format]() == 200_000
    assert _post(port, f"/?default_format={data_format}", query.encode())[1][:4] == raw[:4]


def test_memory_does_not_follow_the_result(client: Client, served: tuple[int, psutil.Process]) -> None:
    _, server = served
    stream = client.raw_stream("SELECT number, repeat('x', 100) FROM numbers(10000000)", fmt="TSV")  # 1.1 GB
    received, most = 0, 0
    while piece := stream.read(1 << 22):
        received += len(piece)
        most = max(most, server.memory_info().rss)
    assert received > 1.07e9
    assert most < 900e6


def test_an_abandoned_stream_harms_nobody(client: Client) -> None:
    for data_format in ("TSV", "ArrowStream", "Native"):
        stream = client.raw_stream("SELECT number FROM numbers(1000000000)", fmt=data_format)
        assert stream.read(100)
        stream.close()
    assert client.command("SELECT 1") == 1


def test_bound_parameters_settings_and_databases(client: Client, port: int) -> None:
    query = "SELECT {n:Int64}, {s:String}, {a:Array(String)}, {at:DateTime64(3, 'UTC')}, {x:Nullable(Int8)}"
    values = {"n": -4, "s": "a\t'b\\\n", "a": ["x'", "y"], "at": NEW_YEAR, "x": None}
    found = client.query(query, parameters=values).result_rows
    assert found == [(-4, "a\t'b\\\n", ["x'", "y"], NEW_YEAR.replace(tzinfo=None), None)]
    client.command("CREATE DATABASE IF NOT EXISTS `a b`")
    form = _client(port, database="a b", form_encode_query_params=True, settings={"max_threads": 1})
    with closing(form):
        found = form.query("SELECT currentDatabase(), getSetting('max_threads'), {v:Int8}", parameters={"v": 3})
        assert found.result_rows == [("a b", 1, 3)]
    assert client.query("SELECT getSetting('max_threads')", settings={"max_threads": 7}).result_rows == [(7,)]
    assert client.command("SELECT getSetting('max_threads')") != 7, "a setting ends with its statement"


def test_commands_tell_no_result_from_an_empty_one(client: Client) -> None:
    client.command("CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a")
    assert client.command("SELECT a FROM t") == ""
    assert client.command("SHOW TABLES LIKE 'nothing'") == ""
    assert client.command("SHOW TABLES") == "t"
    assert client.command("EXISTS TABLE t") == 1
    assert client.command("INSERT INTO t SELECT number FROM numbers(3)").summary["written_rows"] == "3"
    assert client.command("INSERT INTO t VALUES (7), (8)").summary["written_rows"] == "2"
    assert client.command("SELECT sum(a) FROM t") == 18


def test_queries_run_side_by_side(client: Client, port: int) -> None:
    def ask(_: int) -> object:
        with closing(_client(port)) as own:
            return own.command("SELECT 1")

    stream = client.raw_stream("SELECT number FROM numbers(1000000000)", fmt="TSV")
    assert stream.read(2) == b"0\n"  # it is under way, and goes on only as it is read
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [1] * 4
    assert stream.read(2) == b"1\n"
    stream.close()


def test_inserts_and_reads_side_by_side(client: Client, port: int) -> None:
    client.command("CREATE TABLE t (writer UInt8, n UInt64) ENGINE = MergeTree ORDER BY n")

    def write(writer: int) -> None:
        with closing(_client(port, database="work")) as own:
            for start in range(0, 50_000, 5_000):
                own.insert("t", [[writer, n] for n in range(start, start + 5_000)])
                assert own.query(f"SELECT count() FROM t WHERE writer = {writer}").result_rows == [(start + 5_000,)]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert client.query("SELECT count(), uniqExact(writer, n) FROM t").result_rows == [(200_000, 200_000)]


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("query", "code"),
    [("SELECT foo", 47), ("SELEC 1", 62), ("SELECT * FROM nowhere", 60), ("SELECT {unbound:Int8}", 456)],
)
def test_errors_carry_clickhouse_codes(client: Client, query: str, code: int) -> None:
    with pytest.raises(DatabaseError, match=f"Code: {code}. DB::Exception") as caught:
        client.query(query)
    assert caught.value.code == code
    with pytest.raises(DatabaseError, match="Unknown setting 'frob'"):
        client.query("SELECT 1", settings={"frob": 1})


def test_an_error_in_the_middle_of_a_result_is_seen(client: Client) -> None:
    query = "SELECT throwIf(number = 9000000, 'too far') FROM numbers(10000000) SETTINGS max_threads = 1"
    with pytest.raises(StreamFailureError, match="too far"):
        assert client.query(query).result_rows
    with pytest.raises(Exception, match=r"ended prematurely|IncompleteRead"):
        client.raw_query(query, fmt="TSV")


def test_a_failed_insert_is_reported_and_leaves_nothing(client: Client) -> None:
    client.command("CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a")
    with pytest.raises(DatabaseError, match="Code: "):
        client.raw_insert("t", ["a"], b"1\n2\nthree\n", fmt="CSV")
    with pytest.raises(DatabaseError, match="Code: 60"):
        client.insert_arrow("nowhere", pa.table({"a": [1]}))
    assert client.command("SELECT count() FROM t") == 0


def test_a_client_that_leaves_inserts_nothing(client: Client, port: int) -> None:
    client.command("CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a")
    with socket.create_connection(("127.0.0.1", port)) as leaving:
        target = "/?database=work&query=" + quote("INSERT INTO t FORMAT CSV")
        head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {BASIC}\r\nContent-Length: 1000\r\n\r\n"
        leaving.sendall(head.encode() + b"1\n2\n")
    time.sleep(0.3)
    assert client.command("SELECT count() FROM t") == 0


@pytest.mark.parametrize(
    ("target", "headers"),
    [("/?decompress=1", {}), ("/?compress=1", {}), ("/", {"Content_Encoding": "br"})],
)
def test_what_is_not_supported_is_refused(port: int, target: str, headers: dict[str, str]) -> None:
    status, body, _ = _post(port, target, b"SELECT 1", **headers)
    assert (status, body[:8]) == (501, b"Code: 48")


def test_a_damaged_or_cut_compressed_body_is_refused(port: int) -> None:
    good = gzip.compress(b"SELECT 1")
    for bad in (b"nonsense", good[:-6]):
        status, body, _ = _post(port, "/", bad, Content_Encoding="gzip")
        assert (status, b"compressed request" in body) == (501, True)


# ---------------------------------------------------------------- plain HTTP


def test_as_curl_sees_it(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    with closing(connection):
        for target, answer in (("/ping", b"Ok.\n"), ("/", b"Ok.\n"), ("/?query=SELECT+1", b"1\n")):
            connection.request("GET", target, headers={"Authorization": BASIC})
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, answer)
        create = "/?query=CREATE+TABLE+t+(a+Int8)+ENGINE=Memory"
        connection.request("GET", create, headers={"Authorization": BASIC})
        response = connection.getresponse()
        assert (response.status, response.getheader("X-ClickHouse-Exception-Code")) == (500, "164")
        assert b"readonly" in response.read()


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
}


@pytest.mark.parametrize("encoding", COMPRESSORS)
@pytest.mark.parametrize("chunked", [False, True])
def test_statement_in_the_url_and_data_in_the_body(client: Client, port: int, encoding: str, chunked: bool) -> None:
    client.command("CREATE TABLE t (a Int64, b String) ENGINE = MergeTree ORDER BY a")
    data = b"".join(map(COMPRESSORS[encoding], (b"1,one\n2,two\n", b"3,three\n")))
    target = "/?database=work&query=" + quote("INSERT INTO t (a, b) FORMAT CSV")
    body = (data[i : i + 5] for i in range(0, len(data), 5)) if chunked else data
    status, answer, headers = _post(port, target, body, Content_Encoding=encoding)
    assert (status, answer) == (200, b"")
    assert '"written_rows": "3"' in headers["X-ClickHouse-Summary"]
    assert client.query("SELECT * FROM t ORDER BY a").result_rows == [(1, "one"), (2, "two"), (3, "three")]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO {t:Identifier} VALUES (1, 'FORMAT CSV'), (2, 'it''s')",
        "-- a comment: FORMAT\nINSERT INTO t (a, `b`) /* VALUES */ SETTINGS max_threads = 1 FORMAT CSV\n1,x\n2,y",
        "INSERT INTO t SELECT number, 'VALUES' FROM numbers(2)",
        'INSERT INTO t FORMAT JSONEachRow {"a": 1, "b": "x"} {"a": 2, "b": "y"}',
    ],
)
def test_statement_and_data_in_the_body(client: Client, port: int, statement: str) -> None:
    client.command("CREATE TABLE t (a Int64, b String) ENGINE = MergeTree ORDER BY a")
    assert _post(port, "/?database=work&param_t=t", statement.encode())[:2] == (200, b"")
    assert client.command("SELECT count() FROM t") == 2


def test_the_end_of_an_insert_is_found() -> None:
    def parts(text: bytes) -> tuple[str, str, bytes] | None:
        found = find_insert(text)
        return (found.sql, found.format, text[found.data_at :]) if found else None

    assert parts(b"INSERT INTO t (a) FORMAT Native\n\x00\xff\n") == ("INSERT INTO t (a) ", "Native", b"\x00\xff\n")
    assert parts(b"insert into `format` format CSV \r\n\n1") == ("insert into `format` ", "CSV", b"\n1")
    assert parts(b"INSERT INTO t VALUES(1)") == ("INSERT INTO t ", "Values", b"(1)")
    assert parts("INSERT INTO é FORMAT TSV\né".encode()) == ("INSERT INTO é ", "TSV", "é".encode())
    assert parts(b"INSERT INTO t WITH 1 AS x SELECT x") is None
    assert parts(b"SELECT 'INSERT INTO t VALUES'") is None


def test_the_format_of_a_result_is_found() -> None:
    assert output_format("SELECT 1\n FORMAT Native") == "Native"
    assert output_format("SELECT 1 format JSON ; -- FORMAT CSV") == "JSON"
    assert output_format("SELECT 1 FORMAT CSV SETTINGS max_threads = 1") == "CSV"
    assert output_format("SELECT 'x FORMAT CSV'") is None
    assert output_format("SELECT formatReadableSize(1)") is None


# ---------------------------------------------------------------- what the pipeline builds on


def test_tables_are_exchanged_under_their_readers(client: Client) -> None:
    for table, value in (("old", 1), ("new", 2)):
        client.command(f"CREATE TABLE {table} (a Int8) ENGINE = MergeTree ORDER BY a")
        client.command(f"INSERT INTO {table} VALUES ({value})")
    client.command("CREATE VIEW seen AS SELECT * FROM old")
    client.command("EXCHANGE TABLES old AND new")
    assert client.command("SELECT a FROM seen") == 2


def test_partitions_are_attached_from_another_table(client: Client) -> None:
    for table in ("stage", "target"):
        client.command(f"CREATE TABLE {table} (p UInt8, a Int8) ENGINE = MergeTree PARTITION BY p ORDER BY a")
    client.command("INSERT INTO stage SELECT number % 2, number FROM numbers(10)")
    client.command("ALTER TABLE target ATTACH PARTITION 0 FROM stage")
    assert client.query("SELECT count(), sum(a) FROM target").result_rows == [(5, 20)]


def test_views_carry_column_comments(client: Client) -> None:
    client.command("CREATE TABLE t (a Int8 COMMENT 'the number') ENGINE = MergeTree ORDER BY a COMMENT 'a table'")
    client.command("CREATE VIEW v (a Int8 COMMENT 'the ''number''') AS SELECT a FROM t COMMENT 'a view'")
    columns = "SELECT comment FROM system.columns WHERE database = 'work' AND table = {t:String}"
    assert client.command(columns, parameters={"t": "v"}) == "the \\'number\\'"
    tables = client.query("SELECT name, comment FROM system.tables WHERE database = 'work' ORDER BY name")
    assert tables.result_rows == [("t", "a table"), ("v", "a view")]


def test_replacing_merge_tree_keeps_the_last_version(client: Client) -> None:
    columns = "id String, value Int8, version UInt64, deleted UInt8"
    client.command(f"CREATE TABLE t ({columns}) ENGINE = ReplacingMergeTree(version, deleted) ORDER BY id")
    client.insert("t", [["a", 1, 1, 0], ["b", 1, 1, 0], ["c", 1, 1, 0]])
    client.insert("t", [["a", 2, 2, 0], ["b", 1, 2, 1]])
    assert client.query("SELECT id, value FROM t FINAL ORDER BY id").result_rows == [("a", 2), ("c", 1)]


# ---------------------------------------------------------------- the process


def _await_ready(server: subprocess.Popen[bytes], home: Path, port: int) -> None:
    while not ClickHouse(home).ready(port):
        assert server.poll() is None
        time.sleep(0.05)


def test_sigterm_lets_a_running_statement_finish(starts_engines: None, tmp_path: Path) -> None:
    port = free_port()
    command = chdb.command(tmp_path, port, PASSWORD)
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root) as server, ThreadPoolExecutor(1) as pool:
        _await_ready(server, tmp_path, port)
        _post(port, "/", b"CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
        running = pool.submit(_post, port, "/", b"INSERT INTO t SELECT sleep(2) + 7")
        there = b"SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO t%'"
        while _post(port, "/", there)[1] != b"1\n":
            assert not running.done()
        server.send_signal(signal.SIGTERM)
        assert running.result()[0] == 200
        assert server.wait(60) == 0
    with subprocess.Popen(command, cwd=root) as server:
        _await_ready(server, tmp_path, port)
        assert _post(port, "/", b"SELECT a FROM t")[1] == b"7\n"
        server.terminate()
        assert server.wait(60) == 0
