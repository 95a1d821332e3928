"""What users searched for."""

from contracts.schema.entity import Entity
from contracts.schema.fields import free_form, identifier, integer, text, timestamp

ENTITY = Entity(
    collection="SearchQueries",
    description="One search that a user made.",
    key="query_id",
    fields=(
        identifier("query_id", "Business key of the search."),
        identifier("user_id", "User who searched."),
        text("query_text", "What was typed."),
        timestamp("timestamp", "When it was typed."),
        free_form("filters", "Filters that were set; their shape depends on the shop's categories."),
        integer("results_count", "How many products were found.", minimum=0),
    ),
    indexes=("query_id", "user_id", "timestamp"),
)
