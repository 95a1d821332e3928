"""``etl report``: marts and books as one page."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from pipeline.cli.options import AsJson
from pipeline.cli.output import say, show
from pipeline.text.printable import visible

_REPORT = Path("report.html")


def report(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where the page is written.")
    ] = _REPORT,
    language: Annotated[str, typer.Option(metavar="en|ru", help="In which language it is written.")] = "en",
    open_it: Annotated[bool, typer.Option("--open", help="Also open it in the browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write marts and books as one HTML file: figures, plots, lists to act on, and the state of the copy.

    The file needs nothing from elsewhere: it can be mailed, printed, and read without a network or scripts.

    Examples:
      etl report
      etl report -o /tmp/week.html --language ru
      etl report --open
      etl report --json | jq .figures
    """
    from pipeline.cli.sessions import complete_settings
    from pipeline.lake.lake import Lake
    from pipeline.report.language import Language
    from pipeline.report.report import make_report
    from pipeline.runtime.files import check_writable, write_whole

    to = output.expanduser()
    Language.of(language, "UTC")
    check_writable(to)
    with complete_settings(["postgres"]) as settings, Lake(settings) as lake:
        made = make_report(lake, settings.timezone, language)
    size = write_whole(to, made.html)
    figures = [
        {
            "name": one.key,
            "value": one.value,
            "change": one.change,
            "is_share": one.is_share,
            "of": one.of,
            "period": one.period,
        }
        for one in made.figures
    ]
    values = {"path": to.absolute(), "bytes": size, "language": language, "as_of": made.as_of, "figures": figures}
    told = f"{visible(str(to.absolute()))}: {size / 2**20:.1f} MiB, {len(figures)} headline figures"
    show(values, Text(told, no_wrap=True, overflow="ignore"), as_json=as_json)
    if open_it and not _opened(to):
        say("no browser was found to open it in")


def _opened(path: Path) -> bool:
    import webbrowser

    return webbrowser.open(path.absolute().as_uri())
