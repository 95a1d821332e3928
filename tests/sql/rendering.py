"""The marts' SQL with its settings entered: what whoever holds a mart against it asks a store."""

import re
from pathlib import Path
from zoneinfo import ZoneInfo

from contracts.schema.history import valid_at
from pipeline import control
from pipeline.connections import Connections

FOLDER = Path(__file__).with_name("marts")


def rendered(name: str, store: str, settings: dict[str, str]) -> str:
    """Return the SQL of a mart; [[other]] in it stands for that of another mart."""
    text = (FOLDER / f"{name}.{store}.sql").read_text()
    for key, value in settings.items():
        text = text.replace("{" + key + "}", value)
    return re.sub(r"\[\[(\w+)\]\]", lambda other: f"(\n{rendered(other[1], store, settings)})", text)


def settings_of(connections: Connections, store: str) -> dict[str, str]:
    """Return what the SQL of the marts is to be told: the moment that the copies show, the zone, what is promised."""
    with connections.postgres.transaction():
        shown = control.publications(connections.postgres)
        observed = control.observed(connections.postgres, "postgres")
    (moment,) = {one.cluster_time.as_datetime() for one in shown if one.name in connections.entities}
    text, zone, promised = f"{moment:%Y-%m-%d %H:%M:%S}", ZoneInfo(connections.timezone), connections.support_sla
    values = {
        "as_of": f"timestamptz '{text}Z'" if store == "postgres" else f"toDateTime64('{text}', 3, 'UTC')",
        "today": moment.astimezone(zone).date().isoformat(),
        "tz": connections.timezone,
        "sla": f"{promised['']:.0f}",
        "sla_billing": f"{promised.get('billing', promised['']):.0f}",
    }
    for collection, number in observed.items():
        table, since = connections.entities[collection].table, valid_at(number)
        text = f"{since:%Y-%m-%d %H:%M:%S.%f}"
        at = f"timestamptz '{text}Z'" if store == "postgres" else f"toDateTime64('{text}', 6, 'UTC')"
        values |= {f"{table}_since": at, f"{table}_on": since.astimezone(zone).date().isoformat()}
    return values
