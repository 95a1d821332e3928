"""dlt as it comes: documents as Python objects, its own inference of types, child tables, INSERT statements."""

import os
from collections.abc import Iterator
from typing import Any

import dlt
from bson import Decimal128, ObjectId
from pymongo import MongoClient

PAGE = 10_000  # documents at a time, as dlt's MongoDB source has it


def plain(value: Any) -> Any:
    """Return MongoDB's own types as what dlt knows."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, Decimal128):
        return value.to_decimal()
    return str(value) if isinstance(value, ObjectId) else value


def documents(name: str, limit: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the collection in pages."""
    with MongoClient(os.environ["BENCH_MONGO"], tz_aware=True) as client:
        page: list[dict[str, Any]] = []
        for document in client[os.environ["BENCH_DATABASE"]][name].find(limit=limit):
            page.append(plain(document))
            if len(page) == PAGE:
                yield page
                page = []
        yield page


if __name__ == "__main__":
    pipeline = dlt.pipeline(
        os.environ["BENCH_SCHEMA"],
        destination=dlt.destinations.postgres(os.environ["BENCH_POSTGRES"]),
        dataset_name=os.environ["BENCH_SCHEMA"],
        pipelines_dir=os.getcwd(),
    )
    resource = dlt.resource(documents, name=os.environ["BENCH_TABLE"], write_disposition="replace")
    print(pipeline.run(resource(os.environ["BENCH_COLLECTION"], int(os.environ["BENCH_LIMIT"]))))
