"""How support did, by the day on which tickets were opened and by what they are about."""

import polars as pl

from contracts.marts.ticket_changes import BASES
from contracts.schema.entity import TEXT_KEY_CHARACTERS
from contracts.schema.fields import boolean, category, date, integer, number, rule, timestamp
from contracts.schema.mart import Mart, as_of

# Counted one by one; a status that is not among them counts as other, so that the states always add up.
STATUSES = ("open", "in_progress", "waiting", "resolved", "closed")
# Hours within which it is counted how many tickets had a reply.
REPLIED_H = (1, 8, 24)
# The age of what is open at a day's end, in days begun since its opening: name, from, below.
AGES = (("under_1d", 0, 1), ("1d_to_3d", 1, 3), ("3d_to_7d", 3, 7), ("over_7d", 7, None))


def _days(low: int, high: int | None) -> str:
    if high is None:
        return f"at least {low} days before"
    return "this one" if high == 1 else f"{low} to {high - 1} days before"


MART = Mart(
    name="support_efficiency_daily",
    description=(
        "One day of the support about one type of issue, from its first ticket to the day that is running, and any "
        "later day on which a ticket came or went, as of clocks that are ahead: the tickets opened on the day as they "
        "stand at as_of, and what came into the backlog and left it on the day. "
        "Quantiles interpolate linearly between neighbours, as percentile_cont of SQL does."
    ),
    key=("created_on", "issue_type"),
    fields=(
        date("created_on", "The day, on which the tickets were opened."),
        category(
            "issue_type",
            f"What the tickets are about; its first {TEXT_KEY_CHARACTERS} characters.",
            max_length=TEXT_KEY_CHARACTERS,
        ),
        integer("ticket_count", "Tickets opened on the day that are there at as_of.", minimum=0),
        integer("gone_count", "Tickets opened on the day that a copy showed, and that were deleted since.", minimum=0),
        integer("created_count", "Both together: what the day brought into the backlog.", minimum=0),
        integer("solved_count", "Tickets, of any day, that were solved on the day: see ticket_changes.", minimum=0),
        integer(
            "reopened_count",
            "Tickets, of any day, that were solved before and open again on the day; null if it is not observed.",
            nullable=True,
            minimum=0,
        ),
        integer(
            "deleted_count",
            "Tickets, of any day, that were open and deleted on the day; null if it is not observed.",
            nullable=True,
            minimum=0,
        ),
        integer(
            "backlog_count",
            "Tickets open at the day's end, at as_of if the day is running: the day's before + created + reopened - "
            "solved - deleted.",
            minimum=0,
        ),
        *(
            integer(f"backlog_{name}_count", f"Those of them whose day of opening is {_days(low, high)}.", minimum=0)
            for name, low, high in AGES
        ),
        category(
            "backlog_basis",
            "observed, from the day on which the keeping of copies began; before, proxy: what was solved is known by "
            "the first copy of tickets, or by their present state where no copies are kept.",
            *BASES,
            closed=True,
        ),
        timestamp("observed_since", "Since when copies of tickets are kept; null if none are.", nullable=True),
        *(
            field
            for hours in REPLIED_H
            for field in (
                integer(
                    f"eligible_{hours}h_count",
                    f"Tickets opened on the day, not by an agent, that are {hours} h old at as_of.",
                    minimum=0,
                ),
                integer(
                    f"replied_within_{hours}h_count",
                    f"Those of them with a first response within {hours} h.",
                    minimum=0,
                ),
            )
        ),
        number("sla_target_s", "Seconds within which they were to be answered (ETL_SUPPORT_SLA).", minimum=0),
        integer(
            "sla_eligible_count",
            "Tickets opened on the day, not by an agent, that are as old as that at as_of.",
            minimum=0,
        ),
        integer("sla_met_count", "Those of them that were answered in time; who waits still was not.", minimum=0),
        number(
            "sla_met_pct",
            "sla_met_count of sla_eligible_count; null if that is 0.",
            nullable=True,
            minimum=0,
            maximum=100,
        ),
        *(integer(f"status_{status}_count", f"Tickets in the state {status}.", minimum=0) for status in STATUSES),
        integer("status_other_count", "Tickets in any other state.", minimum=0),
        integer("answered_count", "Tickets with a first response: see ticket_resolution.", minimum=0),
        integer("unanswered_count", "Tickets without one.", minimum=0),
        number(
            "answered_pct",
            "Answered tickets, of all tickets; null if there is none.",
            nullable=True,
            minimum=0,
            maximum=100,
        ),
        number(
            "mean_first_response_s",
            "Mean seconds to first response, of the answered; null if none is.",
            nullable=True,
            minimum=0,
        ),
        number(
            "median_first_response_s", "Half of the answered took no longer; null if none is.", nullable=True, minimum=0
        ),
        number(
            "p90_first_response_s",
            "Nine tenths of the answered took no longer; null if none is.",
            nullable=True,
            minimum=0,
        ),
        integer("resolved_count", "Tickets whose status is resolved or closed.", minimum=0),
        number(
            "resolution_pct",
            "Resolved tickets, of all tickets; null if there is none.",
            nullable=True,
            minimum=0,
            maximum=100,
        ),
        number(
            "mean_resolution_s",
            "Mean seconds to resolution, of the resolved; null if none is.",
            nullable=True,
            minimum=0,
        ),
        number(
            "median_resolution_s", "Half of the resolved took no longer; null if none is.", nullable=True, minimum=0
        ),
        number(
            "p90_resolution_s", "Nine tenths of the resolved took no longer; null if none is.", nullable=True, minimum=0
        ),
        integer(
            "first_contact_resolved_count",
            "Tickets resolved with a single message of an agent, beside one that opened it: see ticket_resolution.",
            minimum=0,
        ),
        number(
            "first_contact_resolution_pct",
            "first_contact_resolved_count of resolved_count; null if that is 0.",
            nullable=True,
            minimum=0,
            maximum=100,
        ),
        integer("message_count", "Messages of the tickets.", minimum=0),
        integer("agent_message_count", "Those of them that agents wrote.", minimum=0),
        number(
            "mean_message_count",
            "Mean number of messages of a ticket; null if there is none.",
            nullable=True,
            minimum=0,
        ),
        boolean("is_complete", "Whether the day was over at as_of."),
        as_of(),
    ),
    rules=(
        rule(
            "states_add_up",
            pl.col("ticket_count") == pl.sum_horizontal(*(f"status_{one}_count" for one in (*STATUSES, "other"))),
            "Every ticket is counted in one state.",
        ),
        rule(
            "replied_and_unreplied_add_up",
            (pl.col("created_count") == pl.col("ticket_count") + pl.col("gone_count"))
            & (pl.col("ticket_count") == pl.col("answered_count") + pl.col("unanswered_count")),
            "Every ticket that was created is answered, or not, or gone.",
        ),
        rule(
            "observed_or_not",
            (pl.col("reopened_count").is_not_null() == (pl.col("backlog_basis") == "observed"))
            & (pl.col("deleted_count").is_not_null() == (pl.col("backlog_basis") == "observed")),
            "What was reopened and deleted is known if and only if the day is observed.",
        ),
        rule(
            "ages_add_up",
            pl.col("backlog_count") == pl.sum_horizontal(*(f"backlog_{name}_count" for name, *_ in AGES)),
            "Every open ticket is counted at one age.",
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
            & (pl.col("agent_message_count") <= pl.col("message_count"))
            & (pl.col("sla_met_count") <= pl.col("sla_eligible_count"))
            & pl.all_horizontal(
                pl.col(f"replied_within_{h}h_count") <= pl.col(f"eligible_{h}h_count") for h in REPLIED_H
            ),
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
    # A day's backlog is made by the days before it: all days of a type of issue are computed together.
    by=pl.col("issue_type").str.head(TEXT_KEY_CHARACTERS),
    question="Are we keeping up, and on what? (support manager)",
    definition=(
        "Zendesk's first reply and backlog as dbt_zendesk has them. Shares of a day's tickets by age, so that who "
        "waits still counts; an unanswered ticket that is past its target is a breach, not missing."
    ),
    limits=(
        "created, solved, reopened, deleted and backlog of an observed day that is over stay as they are, unless a "
        "ticket is entered later than its created_at; all else is of tickets that are there at as_of. Of other days, "
        "solved and backlog are what the first copies tell.",
        "Where no copies are kept, they move when a resolved ticket is edited, and what was deleted is in no count.",
        "reopened_count and deleted_count are 0 in the balance where they are null.",
        "A change is known to within the time between two copies; ticket_changes tells by what it is dated.",
        "A ticket whose issue_type was changed is counted by the one it has now, on all days.",
        "A ticket that an agent opened is in no share of replies in time: nobody asked for one at its opening.",
    ),
)
