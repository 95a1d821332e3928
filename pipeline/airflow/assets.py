"""The Assets: one per replicated collection and per mart, the same for whatever task updates it."""

from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias

# Which collections and marts a run publishes, only the run knows.
REPLICA, MARTS = AssetAlias("replica"), AssetAlias("marts")


def replica(table: str) -> Asset:
    """Return the Asset of a replicated collection.

    Args:
        table: Name of its table, such as ``support_tickets``; its child tables go with it.
    """
    return Asset(name=table, uri=f"etl://replica/{quote(table, safe='')}")


def mart(name: str) -> Asset:
    """Return the Asset of a mart."""
    return Asset(name=name, uri=f"etl://marts/{name}")
