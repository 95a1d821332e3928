"""polars-mongo: read a collection into Polars, of types that it infers itself, and drop it. Nothing is written."""

import os

from polars_mongo import scan_mongo

if __name__ == "__main__":
    named = (os.environ[f"BENCH_{name}"] for name in ("MONGO", "DATABASE", "COLLECTION"))
    found = scan_mongo(*named).collect()
    print(found.height, found.schema)
