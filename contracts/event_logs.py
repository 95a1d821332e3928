"""What the application's services logged."""

from contracts.schema.entity import Entity
from contracts.schema.fields import category, free_form, identifier, timestamp

ENTITY = Entity(
    collection="EventLogs",
    description="One event that a service of the application logged.",
    key="event_id",
    fields=(
        identifier("event_id", "Business key of the event."),
        timestamp("timestamp", "When it happened."),
        category(
            "event_type", "What happened.", "login", "logout", "page_view", "purchase", "error", "payment", "signup"
        ),
        free_form("details", "Whatever the service wrote down; its shape differs from event to event."),
    ),
    indexes=("event_id", "timestamp"),
)
