"""Visits of users to the site and the apps."""

import polars as pl

from contracts.schema.entity import Entity
from contracts.schema.fields import category, documents, identifier, rule, subdocument, text, texts, timestamp

ENTITY = Entity(
    collection="UserSessions",
    description="One visit of a user to the site or an app.",
    key="session_id",
    fields=(
        identifier("session_id", "Business key of the session."),
        identifier("user_id", "User who visited."),
        timestamp("start_time", "When the visit began."),
        timestamp("end_time", "When the visit ended; null while it goes on.", nullable=True),
        texts("pages_visited", "Paths of the pages, in the order of the visit."),
        subdocument(
            "device",
            "What the user visited with.",
            category("type", "Class of the device.", "desktop", "mobile", "tablet"),
            category("os", "Operating system.", "Windows", "macOS", "Linux", "Android", "iOS"),
            category("browser", "Browser.", "Chrome", "Safari", "Firefox", "Edge", "Opera"),
        ),
        documents(
            "actions",
            "What the user did during the visit, in order.",
            category("type", "Kind of action.", "view", "click", "scroll", "search", "add_to_cart", "purchase"),
            text("target", "What the action was done to, such as a page or a product."),
            timestamp("at", "When it was done."),
        ),
    ),
    rules=(
        rule("ends_after_start", pl.col("end_time") >= pl.col("start_time"), "A visit does not end before it began."),
    ),
    indexes=("session_id", "user_id", "start_time"),
)
