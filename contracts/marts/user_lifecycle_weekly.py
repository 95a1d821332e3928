"""Who came, stayed, came back and went, by week."""

from contracts.schema.fields import boolean, category, date, integer
from contracts.schema.mart import DAILY, Mart, as_of

STATUSES = ("new", "returning", "resurrecting", "dormant")

MART = Mart(
    name="user_lifecycle_weekly",
    description=(
        "The users of one status in one week, from the first with any activity to the one that is running, and any "
        "later one with activity, as of clocks that are ahead. "
        "New, returning and resurrecting users are the active ones; dormant ones are not."
    ),
    key=("week_on", "status"),
    fields=(
        date("week_on", "Monday of the week."),
        category(
            "status",
            "new: first active in this week. returning: active in it and in the week before. resurrecting: active in "
            "it, not in the week before, but earlier. dormant: active in the week before, not in this one.",
            *STATUSES,
            closed=True,
            max_length=20,
        ),
        integer("user_count", "The users; those of dormant count positive too.", minimum=0),
        boolean("is_complete", "Whether the week was over at as_of; dormant users of the running one may still come."),
        boolean(
            "is_left_censored",
            "Whether it is the first week of all: its users are new to us, whatever they did before.",
        ),
        as_of(),
    ),
    ages=DAILY,
    question="Is growth real, or a leaky bucket? (growth, leadership)",
    definition="PostHog's lifecycle, with new by our own first activity rather than by the making of an account.",
    limits=("The date of the signing up is not known: new is who was first seen by us.",),
)
