"""``etl doctor``: what would go wrong, before it does."""

import typer
from rich.text import Text

from pipeline.cli import tables
from pipeline.cli.options import AsJson
from pipeline.cli.output import show
from pipeline.cli.sessions import complete_settings


def doctor(as_json: AsJson = False) -> None:
    """Look at servers, rights, windows, disks, clocks and contracts, and say what to do.

    Nothing is changed. What fails would end a command, or break its promise; a
    warning may. The exit code is 1 if something fails.

    Examples:
      etl doctor
      etl doctor --json
    """
    from pipeline.doctor.examine import examine
    from pipeline.doctor.finding import State
    from pipeline.settings import Settings

    with complete_settings() as complete:
        found = list(examine(Settings.load(), complete))
    styles = {State.OK: "green", State.WARN: "yellow", State.FAIL: "bold red"}
    rows = [
        (
            Text(one.state, style=styles[one.state]),
            one.about,
            one.check,
            ": ".join(filter(None, (one.says, one.advice))),
        )
        for one in found
    ]
    part = tables.table("What the doctor found", ("state", "of", "check", "says"), rows, wraps=("says",))
    show({"findings": found}, part, as_json=as_json)
    if any(one.state is State.FAIL for one in found):
        raise typer.Exit(1)
