"""The driver of PostgreSQL, imported without what it and Arrow would take along and nothing of ours uses.

Arrow looks for pandas as soon as it converts a first value from or to Python, such as a parameter of a statement; the
driver looks for Polars when it is imported. Measured: that was half of the processor time of ``etl status``.
"""

import pyarrow as pa

from pipeline.runtime.hiding import hidden

__all__ = ["dbapi", "manager"]

# Neither has a setting for it; both can do without and ask once, and what needs the packages asks anew: Arrow's
# to_pandas(), the driver's fetch_polars(). Should one ask in another way one day, it takes them along again, no more.
with hidden("pandas", "polars"):
    pa.scalar(None)
    from adbc_driver_manager import dbapi as manager
    from adbc_driver_postgresql import dbapi
