"""polars-mongo: read a collection into Polars, of types that it infers itself, and drop it. Nothing is written.

Only scalar fields: version 0.3.1 infers a struct for a subdocument, and then gives a text, so that Polars refuses it.
"""

import os

from polars_mongo import scan_mongo

SCALARS = {
    "UserSessions": ["_id", "session_id", "user_id", "start_time", "end_time"],
    "EventLogs": ["_id", "event_id", "timestamp", "event_type"],
}

if __name__ == "__main__":
    name = os.environ["BENCH_COLLECTION"]
    found = scan_mongo(os.environ["BENCH_MONGO"], os.environ["BENCH_DATABASE"], name).select(SCALARS[name]).collect()
    print(found.height, found.schema)
