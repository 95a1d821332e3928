"""Products recommended to users."""

from contracts.schema.entity import Entity
from contracts.schema.fields import identifier, texts, timestamp

ENTITY = Entity(
    collection="UserRecommendations",
    description="The products recommended to one user.",
    key="user_id",
    fields=(
        identifier("user_id", "Business key: the user."),
        texts("recommended_products", "Products, the best first."),
        timestamp("last_updated", "When the recommendation was computed."),
    ),
    indexes=("user_id",),
    history=True,
)
