"""The floor: read a collection into Arrow by PyMongoArrow, and drop it. Nothing is written anywhere.

Of event logs only the declared fields are read: PyMongoArrow has no type for documents of any shape.
"""

import os
from datetime import datetime

import pyarrow as pa
from bson import ObjectId
from pymongo import MongoClient
from pymongoarrow.api import Schema, find_arrow_all

MOMENT = pa.timestamp("ms", "UTC")
SCHEMAS = {
    "UserSessions": {
        "_id": ObjectId,
        "session_id": str,
        "user_id": str,
        "start_time": MOMENT,
        "end_time": MOMENT,
        "pages_visited": [str],
        "device": {"type": str, "os": str, "browser": str},
        "actions": [{"type": str, "target": str, "at": MOMENT}],
    },
    "EventLogs": {"_id": ObjectId, "event_id": str, "timestamp": datetime, "event_type": str},
}

if __name__ == "__main__":
    with MongoClient(os.environ["BENCH_MONGO"]) as client:
        name = os.environ["BENCH_COLLECTION"]
        collection = client[os.environ["BENCH_DATABASE"]][name]
        print(find_arrow_all(collection, {}, schema=Schema(SCHEMAS[name])).num_rows)
