"""Whether events arrive as they did, by day and type."""

import polars as pl

from contracts.schema.entity import TEXT_KEY_CHARACTERS
from contracts.schema.fields import boolean, category, date, integer, number, rule
from contracts.schema.mart import DAILY, Mart, as_of

# A day is held against so many days before it, and is unusual from so many standard deviations on, if it or the mean of
# these days has so many events: of fewer a single one more is soon so far off.
TRAINING_DAYS, UNUSUAL_Z, UNUSUAL_COUNT = 14, 3, 10

MART = Mart(
    name="event_types_daily",
    description=(
        "The events of one type on one day, from the first event of the type to the day that is running, and any later "
        "day with events, as of clocks that are ahead."
    ),
    key=("event_on", "event_type"),
    fields=(
        date("event_on", "The day."),
        category(
            "event_type", f"What happened; its first {TEXT_KEY_CHARACTERS} characters.", max_length=TEXT_KEY_CHARACTERS
        ),
        integer("event_count", "Events; 0 if there was none.", minimum=0),
        integer("all_event_count", "Events of all types on the day.", minimum=0),
        number(
            "share_pct", "event_count of all_event_count; null if that is 0.", nullable=True, minimum=0, maximum=100
        ),
        number(
            "mean_14d_count",
            "Mean of event_count over the 14 days before; null if the type has no 14 days before.",
            nullable=True,
            minimum=0,
        ),
        number(
            "z_score",
            "How many standard deviations (of a sample) of these 14 days event_count is off their mean; null of a day "
            "that is running, without 14 days before, or if all 14 are equal.",
            nullable=True,
        ),
        boolean(
            "is_unusual",
            "Whether z_score is at least 3 or at most -3, and event_count or mean_14d_count at least 10; null if "
            "z_score is null.",
            nullable=True,
        ),
        boolean("is_complete", "Whether the day was over at as_of."),
        as_of(),
    ),
    rules=(
        rule("parts_of_the_day", pl.col("event_count") <= pl.col("all_event_count"), "No type has more than all have."),
        rule(
            "judged_if_scored",
            pl.col("is_unusual").is_null() == pl.col("z_score").is_null(),
            "A day is judged if and only if it has a score.",
        ),
    ),
    ages=DAILY,
    question="Is the data arriving, and unchanged? (engineering, analysts)",
    definition=(
        "Elementary's volume anomalies: 14 days of training, |z| of at least 3, the running bucket left out; of 10 "
        "events or more."
    ),
    limits=(
        "14 days hold two of each weekday: a strong weekly rhythm widens what is usual.",
        "On low counts z_score says little: with fewer than 10 events, on the day and on average before, none is "
        "unusual, also not one on which such a type stopped.",
        "After 14 equal days no day has a score: that something of the kind has stopped, event_count tells alone.",
        "It is computed in one piece, which holds one number per day and type.",
    ),
)
