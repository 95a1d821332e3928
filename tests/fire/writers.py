"""Writers on all collections: every operation, transactions, documents that break their contract and are mended."""

import multiprocessing
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.sharedctypes import Synchronized
from typing import Any

import pymongo
from bson import Decimal128, ObjectId
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from tests.fire.servers import DATABASE

COLLECTIONS = (
    *("UserSessions", "ProductPriceHistory", "EventLogs", "SupportTickets"),
    *("UserRecommendations", "ModerationQueue", "SearchQueries"),
)
ACCOUNTS, BALANCE = 10, 1_000  # of each kind; money moves between them and is never more nor less
_LARGEST_TRANSACTION = 3_000
_KNOWN = 500  # documents of a collection that a writer remembers


def account(kind: int, number: int) -> ObjectId:
    """Return the ``_id`` of an account, which no other writer touches."""
    return ObjectId(f"f12e{kind:04x}{number:016x}")


def open_accounts(database: "Database[Any]") -> None:
    """Make the accounts: of kind 0 and 1 as prices of products, of kind 2 as results of searches.

    Money moves among those of kind 0, and between those of kind 1 and 2.
    """
    price = database.ProductPriceHistory.find_one({"price_changes.0": {"$exists": True}})
    search = database.SearchQueries.find_one()
    assert price is not None and search is not None
    balance = Decimal128(str(BALANCE))
    for kind in (0, 1):
        database.ProductPriceHistory.insert_many(
            price | {"_id": account(kind, n), "product_id": f"fire-{kind}-{n}", "current_price": balance}
            for n in range(ACCOUNTS)
        )
    database.SearchQueries.insert_many(
        search | {"_id": account(2, n), "query_id": f"fire-2-{n}", "results_count": BALANCE} for n in range(ACCOUNTS)
    )


class Writer:
    """One writer; whatever fails is left undone, or done in part: what counts is what MongoDB has in the end.

    Args:
        uri: The replica set.
        seed: Of its random choices.
        written: Counts the documents that were written.
        rest: How many seconds it does nothing after each operation.
    """

    def __init__(self, uri: str, seed: int, written: "Synchronized[int]", rest: float) -> None:
        self._client: pymongo.MongoClient[Any] = pymongo.MongoClient(uri, retryWrites=True, w="majority")
        self._database = self._client[DATABASE]
        self._random, self._written, self._rest = random.Random(seed), written, rest
        self._known: dict[str, deque[ObjectId]] = {name: deque(maxlen=_KNOWN) for name in COLLECTIONS}
        self._broken: deque[tuple[str, dict[str, Any]]] = deque()
        self._gone: deque[tuple[str, dict[str, Any]]] = deque(maxlen=200)

    def write_on(self, runs: Any, ends: Any) -> None:
        """Write until it ends, whenever it runs."""
        acts: list[tuple[Callable[[], int], float]] = [
            *((self._insert, 4), (self._update, 8), (self._replace, 2), (self._delete, 3), (self._bring_back, 2)),
            *((self._break, 2), (self._mend, 2), (self._note, 2), (self._transfer, 6), (self._transaction, 0.2)),
        ]
        choices, weights = zip(*acts, strict=True)
        while not ends.is_set():
            runs.wait(0.2)
            if not runs.is_set():
                continue
            with suppress(PyMongoError):
                (act,) = self._random.choices(choices, weights)
                done = act()
                with self._written.get_lock():
                    self._written.value += done
            time.sleep(self._rest)
        self._client.close()

    def _collection(self) -> "Collection[Any]":
        return self._database[self._random.choice(COLLECTIONS)]

    def _some_id(self, collection: "Collection[Any]") -> ObjectId:
        known = self._known[collection.name]
        if not known or self._random.random() < 0.02:
            known.extend(
                one["_id"]
                for one in collection.aggregate([{"$sample": {"size": 100}}, {"$project": {"_id": 1}}])
                if not str(one["_id"]).startswith("f12e")
            )
        return self._random.choice(known)

    def _some(self, collection: "Collection[Any]") -> dict[str, Any]:
        found = None
        for _ in range(20):
            if found := collection.find_one({"_id": self._some_id(collection)}):
                break
            self._known[collection.name].clear()
        assert found is not None, f"nothing is left of {collection.name}"
        return dict(found)

    def _copies(self, collection: "Collection[Any]", number: int) -> list[dict[str, Any]]:
        return [self._some(collection) | {"_id": ObjectId()} for _ in range(number)]

    def _insert(self) -> int:
        collection = self._collection()
        return len(collection.insert_many(self._copies(collection, self._random.randint(1, 10))).inserted_ids)

    def _update(self) -> int:
        collection = self._collection()
        change = {
            "UserSessions": {"$push": {"pages_visited": f"/{self._random.random()}"}},
            "ProductPriceHistory": {"$set": {"current_price": Decimal128(f"{self._random.randint(0, 9999)}.25")}},
            "EventLogs": {"$set": {"details.fire": self._random.random()}},
            "SupportTickets": {"$set": {"status": self._random.choice(["open", "closed", "smouldering"])}},
            "UserRecommendations": {"$push": {"recommended_products": f"P{self._random.randint(0, 99)}"}},
            "ModerationQueue": {"$set": {"rating": self._random.randint(1, 5)}},
            "SearchQueries": {"$set": {"results_count": self._random.randint(0, 99)}},
        }[collection.name]
        return collection.update_one({"_id": self._some_id(collection)}, change).modified_count

    def _replace(self) -> int:
        collection = self._collection()
        one, other = self._some(collection), self._some(collection)
        return collection.replace_one({"_id": one["_id"]}, other | {"_id": one["_id"]}).modified_count

    def _delete(self) -> int:
        collection = self._collection()
        found = collection.find_one_and_delete({"_id": self._some_id(collection)})
        if found:
            self._gone.append((collection.name, found))
        return 1 if found else 0

    def _bring_back(self) -> int:
        if not self._gone:
            return 0
        name, document = self._gone.pop()
        self._database[name].insert_one(document)
        return 1

    def _break(self) -> int:
        """Put a truth value where no contract has one; the document belongs into quarantine."""
        collection = self._collection()
        document = self._some(collection)
        field = self._random.choice([name for name in document if name not in ("_id", "fire_note")])
        self._broken.append((collection.name, document))
        return collection.update_one({"_id": document["_id"]}, {"$set": {field: True}}).modified_count

    def _mend(self) -> int:
        if not self._broken:
            return 0
        name, document = self._broken.popleft()
        return self._database[name].replace_one({"_id": document["_id"]}, document).modified_count

    def _note(self) -> int:
        """Add a field that no contract declares."""
        collection = self._collection()
        note = self._random.choice(["a note", 7, 0.5, None, ["a", 1], {"of": {"more": "than one level"}}])
        return collection.update_one({"_id": self._some_id(collection)}, {"$set": {"fire_note": note}}).modified_count

    def _transfer(self) -> int:
        """Move money in one transaction: within one collection, or from one to another."""
        amount, prices = self._random.randint(1, 50), self._database.ProductPriceHistory
        if self._random.random() < 0.5:
            one, other = self._random.sample(range(ACCOUNTS), 2)
            sides = [(prices, "current_price", account(0, one)), (prices, "current_price", account(0, other))]
        else:
            numbers = [self._random.randrange(ACCOUNTS) for _ in range(2)]
            sides = [
                (prices, "current_price", account(1, numbers[0])),
                (self._database.SearchQueries, "results_count", account(2, numbers[1])),
            ]
            self._random.shuffle(sides)

        def move(session: ClientSession) -> int:
            (source, field, payer), (target, other_field, payee) = sides
            # No contract has negative prices or numbers of results.
            enough = {"_id": payer, field: {"$gte": amount}}
            if not source.update_one(enough, {"$inc": {field: -amount}}, session=session).modified_count:
                return 0
            target.update_one({"_id": payee}, {"$inc": {other_field: amount}}, session=session)
            return 2

        return self._in_transaction(move)

    def _transaction(self) -> int:
        """Write many documents of several collections in one transaction, then most of them away again."""
        number = self._random.choice([30, 300, _LARGEST_TRANSACTION])
        names = self._random.sample(COLLECTIONS, 2)
        copies = {name: self._copies(self._database[name], 10) for name in names}

        def write(session: ClientSession) -> int:
            for name in names:
                made = [one | {"_id": ObjectId()} for one in copies[name] for _ in range(max(1, number // 40))]
                self._database[name].insert_many(made, session=session)
                ids = [one["_id"] for one in made]
                changed = {"$set": {"fire_note": number}}
                self._database[name].update_many({"_id": {"$in": ids[::2]}}, changed, session=session)
                # In the end as many as before, or the collections would grow and grow.
                self._database[name].delete_many({"_id": {"$in": ids[1:]}}, session=session)
            return number

        return self._in_transaction(write)

    def _in_transaction(self, act: Callable[[ClientSession], int]) -> int:
        with self._client.start_session() as session:
            return session.with_transaction(
                act, read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority")
            )


class Writers:
    """Some writers in processes of their own.

    Attributes:
        written: How many documents they have written.
    """

    def __init__(self, uri: str, seed: int, number: int, rest: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._runs, self._ends = context.Event(), context.Event()
        self.written: Any = context.Value("q", 0)
        self._processes = [
            context.Process(
                target=_write, args=(self._runs, self._ends, uri, seed + n, self.written, rest), daemon=True
            )
            for n in range(number)
        ]
        for process in self._processes:
            process.start()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Let them write meanwhile."""
        self._runs.set()
        try:
            yield
        finally:
            self._runs.clear()
            time.sleep(1.0)  # whatever is under way

    def close(self) -> None:
        """End them."""
        self._ends.set()
        for process in self._processes:
            process.join(30)
            assert process.exitcode == 0, "a writer failed"


def _write(runs: Any, ends: Any, uri: str, seed: int, written: "Synchronized[int]", rest: float) -> None:
    Writer(uri, seed, written, rest).write_on(runs, ends)
