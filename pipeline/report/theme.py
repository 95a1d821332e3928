"""How plots look: every colour is a variable of the page's style, so that light, dark and print need no second plot."""

from typing import Any

INK, SOFT, GRID = "var(--ink)", "var(--soft)", "var(--grid)"
ACCENT, SECOND, THIRD = "var(--c1)", "var(--c2)", "var(--c3)"
SERIES = [f"var(--c{number})" for number in range(1, 7)]  # told apart by people who see few colours as well
HEAT = [f"var(--h{number})" for number in range(7)]  # from little to much
MID = 4  # of them: the one on which numbers are as ink in the light, and as on the strongest in the dark
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
RUNNING = 0.45  # how strong the running period is drawn
WIDE, WIDTH, PANEL_WIDTH, HEIGHT, PANEL_HEIGHT = 900, 460, 300, 220, 100

_TEXT = {"labelColor": SOFT, "titleColor": SOFT, "labelFont": FONT, "titleFont": FONT}
CONFIG: dict[str, Any] = {
    "aria": False,  # the page says in a sentence what is seen; a thousand marks with a name each say nothing
    "background": None,
    "font": FONT,
    "padding": {"left": 3, "right": 4, "top": 4, "bottom": 7},
    "view": {"stroke": None},
    "axis": {
        **_TEXT,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "gridColor": GRID,
        "domainColor": GRID,
        "tickColor": GRID,
        "labelOverlap": True,
        "labelSeparation": 3,
        "tickSize": 4,
    },
    "axisX": {"grid": False, "title": None},
    "axisY": {"domain": False, "ticks": False, "tickCount": 5, "titleAnchor": "end", "titleAngle": 0, "titleY": -10},
    "legend": {
        **_TEXT,
        "orient": "top",
        "title": None,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "symbolStrokeWidth": 2,
        "symbolOpacity": 1,  # also where what is running is drawn lighter
    },
    "text": {"color": INK, "font": FONT, "fontSize": 11},
    "range": {"category": SERIES},
}
