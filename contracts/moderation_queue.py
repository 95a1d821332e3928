"""Product reviews that wait for, or have had, a moderator's decision."""

from contracts.schema.entity import Entity
from contracts.schema.fields import categories, category, identifier, integer, text, timestamp

ENTITY = Entity(
    collection="ModerationQueue",
    description="One product review in moderation.",
    key="review_id",
    fields=(
        identifier("review_id", "Business key of the review."),
        identifier("user_id", "User who wrote it."),
        identifier("product_id", "Product it is about."),
        text("review_text", "What the user wrote."),
        integer("rating", "Stars, 1 to 5.", minimum=1, maximum=5),
        category("moderation_status", "State of the moderation.", "pending", "approved", "rejected"),
        categories("flags", "What was found in it.", "spam", "offensive", "off_topic", "personal_data", "fake"),
        timestamp("submitted_at", "When it was submitted."),
    ),
    indexes=("review_id", "product_id", "submitted_at"),
    history=True,
)
