"""Readers that look at both stores all the while: money that moves in transactions is never more nor less."""

import multiprocessing
import time
from contextlib import closing, suppress
from decimal import Decimal
from multiprocessing.connection import Connection
from typing import Any

import clickhouse_connect
from adbc_driver_manager import Error
from adbc_driver_postgresql import dbapi
from clickhouse_connect.driver.exceptions import ClickHouseError

from tests.fire.writers import ACCOUNTS, BALANCE

_PRICES = "SELECT count(*), sum(current_price) FROM replica.product_price_history WHERE product_id LIKE 'fire-{}-%'"
_SEARCHES = "SELECT count(*), sum(results_count) FROM replica.search_queries WHERE query_id LIKE 'fire-2-%'"
_WHOLE = (ACCOUNTS, Decimal(ACCOUNTS * BALANCE))
_REST_S = 0.05


class Readers:
    """One reader per store, in processes of their own."""

    def __init__(self, postgres: str, clickhouse: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._ends, self._running = context.Event(), []
        for read, uri in ((_read_postgres, postgres), (_read_clickhouse, clickhouse)):
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=read, args=(uri, self._ends, there), daemon=True)
            process.start()
            self._running.append((process, here))

    def close(self) -> tuple[int, list[str]]:
        """End them, and return how often they looked, and what they saw that must not be seen."""
        self._ends.set()
        looks, wrong = 0, []
        for process, here in self._running:
            assert here.poll(60), "a reader says nothing"
            seen, told = here.recv()
            looks, wrong = looks + seen, wrong + told
            process.join(30)
        return looks, wrong


def _read_postgres(uri: str, ends: Any, there: Connection) -> None:
    def look(cursor: Any) -> list[str]:
        # One statement sees one moment: the two collections as well.
        cursor.execute(f"SELECT * FROM ({_PRICES.format(0)}) a, ({_PRICES.format(1)}) b, ({_SEARCHES}) c")
        (row,) = cursor.fetchall()
        first, both = (row[0], Decimal(row[1] or 0)), (row[2], row[4], Decimal(row[3] or 0) + Decimal(row[5] or 0))
        expected = (ACCOUNTS, ACCOUNTS, Decimal(2 * ACCOUNTS * BALANCE))
        seen = f"PostgreSQL showed {first} and {both}"
        return [] if (first, both) == (_WHOLE, expected) else [seen]

    looks, wrong = 0, list[str]()
    while not ends.is_set():
        with (
            suppress(Error, OSError),
            closing(dbapi.connect(uri, autocommit=True)) as connection,
            connection.cursor() as cursor,
        ):
            while not ends.is_set():
                wrong, looks = [*wrong, *look(cursor)][:10], looks + 1
                time.sleep(_REST_S)
        time.sleep(0.5)
    there.send((looks, wrong))


def _read_clickhouse(uri: str, ends: Any, there: Connection) -> None:
    looks, wrong = 0, list[str]()
    while not ends.is_set():
        with suppress(ClickHouseError, OSError), closing(clickhouse_connect.get_client(dsn=uri)) as client:
            while not ends.is_set():
                (row,) = client.query(_PRICES.format(0)).result_rows
                seen = (row[0], Decimal(row[1]))
                wrong, looks = [*wrong, *([] if seen == _WHOLE else [f"ClickHouse showed {seen}"])][:10], looks + 1
                time.sleep(_REST_S)
        time.sleep(0.5)
    there.send((looks, wrong))
