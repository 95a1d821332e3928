"""Where the scores of users are cut."""

from contracts.schema.fields import category, integer
from contracts.schema.mart import DAILY, Mart, as_of

# What is scored: recency (the fewer days the better), frequency and engagement (the more the better).
AXES = ("recency", "frequency", "engagement")
SCORES = 5

MART = Mart(
    name="user_score_cuts",
    description="One value that users have of one thing that is scored, and its score, which user_activity has.",
    key=("axis", "value"),
    fields=(
        category(
            "axis",
            "recency: days from the last day with activity to as_of. frequency: days with activity among the 28 that "
            "end with as_of. engagement: actions in the sessions of these 28 days.",
            *AXES,
            closed=True,
            max_length=20,
        ),
        integer("value", "The value."),
        integer("user_count", "Users who have it.", minimum=1),
        integer("worse_user_count", "Users with a worse one: more days of recency, less of the others.", minimum=0),
        integer(
            "score",
            "1 to 5: 1 and the whole fifths of all users who are worse, half of those with the same value counted with "
            "them; equal values have equal scores, and nobody is below 3 for the best value of all.",
            minimum=1,
            maximum=SCORES,
        ),
        as_of(),
    ),
    ages=DAILY,
    question="From which value on is a user recent, frequent, engaged? (CRM)",
    definition=(
        "Percentile rank in the middle of those with the same value; not NTILE, which parts equal values at random."
    ),
    limits=("A user's score moves when others move: the values stand beside it.",),
)
