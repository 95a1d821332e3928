"""How support did, by the day on which tickets were opened and by what they are about."""

import polars as pl

from contracts.schema.entity import TEXT_KEY_CHARACTERS
from contracts.schema.fields import category, date, integer, number, rule
from contracts.schema.mart import Mart

# Counted one by one; a status that is not among them counts as other, so that the states always add up.
STATUSES = ("open", "in_progress", "waiting", "resolved", "closed")

MART = Mart(
    name="support_efficiency_daily",
    description=(
        "The support tickets about one type of issue that were opened on one UTC day, as they stand now. "
        "Quantiles interpolate linearly between neighbours, as percentile_cont of SQL does."
    ),
    key=("created_on", "issue_type"),
    fields=(
        date("created_on", "UTC day on which the tickets were opened."),
        category(
            "issue_type",
            f"What the tickets are about; its first {TEXT_KEY_CHARACTERS} characters.",
            max_length=TEXT_KEY_CHARACTERS,
        ),
        integer("ticket_count", "Tickets.", minimum=1),
        *(integer(f"status_{status}_count", f"Tickets in the state {status}.", minimum=0) for status in STATUSES),
        integer("status_other_count", "Tickets in any other state.", minimum=0),
        integer("answered_count", "Tickets with a first response: see ticket_resolution.", minimum=0),
        number("answered_pct", "Answered tickets, of all tickets.", minimum=0, maximum=100),
        number("mean_first_response_s", "Mean seconds to first response, of the answered.", nullable=True, minimum=0),
        number("median_first_response_s", "Half of the answered took no longer.", nullable=True, minimum=0),
        number("p90_first_response_s", "Nine tenths of the answered took no longer.", nullable=True, minimum=0),
        integer("resolved_count", "Tickets whose status is resolved or closed.", minimum=0),
        number("resolution_pct", "Resolved tickets, of all tickets.", minimum=0, maximum=100),
        number("mean_resolution_s", "Mean seconds to resolution, of the resolved.", nullable=True, minimum=0),
        number("median_resolution_s", "Half of the resolved took no longer.", nullable=True, minimum=0),
        number("p90_resolution_s", "Nine tenths of the resolved took no longer.", nullable=True, minimum=0),
        integer("first_contact_resolved_count", "Tickets resolved with a single message of an agent.", minimum=0),
        number(
            "first_contact_resolution_pct",
            "Tickets resolved with a single message of an agent, of the resolved; null if none is.",
            nullable=True,
            minimum=0,
            maximum=100,
        ),
        integer("message_count", "Messages of the tickets.", minimum=0),
        integer("agent_message_count", "Those of them that agents wrote.", minimum=0),
        number("mean_message_count", "Mean number of messages of a ticket.", minimum=0),
    ),
    rules=(
        rule(
            "states_add_up",
            pl.col("ticket_count") == pl.sum_horizontal(*(f"status_{one}_count" for one in (*STATUSES, "other"))),
            "Every ticket is counted in one state.",
        ),
        rule(
            "resolved_states_add_up",
            pl.col("resolved_count") == pl.col("status_resolved_count") + pl.col("status_closed_count"),
            "The resolved tickets are those in the states resolved and closed.",
        ),
        rule(
            "parts_of_the_whole",
            (pl.col("answered_count") <= pl.col("ticket_count"))
            & (pl.col("first_contact_resolved_count") <= pl.col("resolved_count"))
            & (pl.col("agent_message_count") <= pl.col("message_count")),
            "No part is larger than its whole.",
        ),
        rule(
            "quantiles_in_order",
            (pl.col("median_first_response_s") <= pl.col("p90_first_response_s"))
            & (pl.col("median_resolution_s") <= pl.col("p90_resolution_s")),
            "The median is no larger than the 90th percentile.",
        ),
        rule(
            "times_of_some",
            (pl.col("mean_first_response_s").is_not_null() == (pl.col("answered_count") > 0))
            & (pl.col("mean_resolution_s").is_not_null() == (pl.col("resolved_count") > 0)),
            "There are times if and only if a ticket was answered or resolved.",
        ),
    ),
    by=pl.col("created_at").dt.date().alias("created_on"),
)
