"""The plots of each area, by the order in which the page has them."""

from collections.abc import Mapping

from pipeline.report.areas import (
    activity,
    events,
    moderation,
    prices,
    recommendations,
    retention,
    search,
    support,
    users,
)
from pipeline.report.drawn import Draw

# By area: the functions that draw, each with the mart that it draws from.
AREAS: Mapping[str, Mapping[Draw, str]] = {
    "activity": {**activity.PLOTS, **users.PLOTS},
    "retention": retention.PLOTS,
    "support": support.PLOTS,
    "search": search.PLOTS,
    "moderation": moderation.PLOTS,
    "prices": prices.PLOTS,
    "recommendations": recommendations.PLOTS,
    "events": events.PLOTS,
}
