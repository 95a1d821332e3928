"""Drawings as SVG and as Vega-Lite in the page, and the one script that draws them again, to be pointed at."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import vl_convert
from markupsafe import Markup

from pipeline.report import theme
from pipeline.report.charts import is_hidden
from pipeline.report.drawn import Panel
from pipeline.text.printable import visible

_SNIPPET = Path(__file__).parent / "page" / "page.js"
# Addresses in the libraries: of an editor that is never opened, of an explanation, and of schemas that we leave out.
_ADDRESS = re.compile(r"https?://(?:github\.com|vega\.github\.io)[^\s\"'`\\)]*")
# Of an SVG within a page that says in words what is seen, and digits that no eye tells apart.
_NEEDLESS = re.compile(
    r' (?:xmlns(?::xlink)?|class|role|aria-[a-z]+|pointer-events|version|font-family|font-size)="[^"]*"'
)
_FRACTION = re.compile(r"(\d\.\d)\d+")
_TAG = re.compile(r"<[^>]*>")  # for texts are to be told as they are
_NAMESPACE, _SAME = "http://www.w3.org", r"http:\u002f\u002fwww.w3.org"  # SVG's name, which no browser ever asks for


@cache
def script() -> str:
    """Return Vega, Vega-Lite and what our page does with them, as one script without an address of another place."""
    bundle = vl_convert.javascript_bundle(_SNIPPET.read_text(encoding="utf-8"))
    return _ADDRESS.sub("", bundle).replace(_NAMESPACE, _SAME).replace("</script", r"<\/script")


def fingerprint(text: str) -> str:
    """Return by what a page's policy knows a script that may run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def spec_of(panel: Panel) -> dict[str, Any]:
    """Return the Vega-Lite of a drawing; what data bear is made visible."""
    shown: dict[str, Any] = _shown(panel.spec)
    return {**shown, "autosize": {"type": "fit-x", "contains": "padding"}}


def svg(spec: Mapping[str, Any], width: int, locales: Mapping[str, Any]) -> Markup:
    """Return a drawing as SVG, for pages without scripts and for print."""
    layers = {"layer": [one for one in spec["layer"] if not is_hidden(one)]} if "layer" in spec else {}
    still = {key: value for key, value in spec.items() if key != "params"}
    drawn = vl_convert.vegalite_to_svg(
        {**still, **layers, "width": width, "config": theme.CONFIG},
        format_locale=locales["formatLocale"],
        time_format_locale=locales["timeFormatLocale"],
    )
    plain = _TAG.sub(lambda tag: _FRACTION.sub(r"\1", _NEEDLESS.sub("", tag[0])), drawn)
    return Markup(plain.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1))


def as_json(value: Any) -> Markup:
    """Return JSON for a script element: no text in it ends the element or begins a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {key: _shown(one) for key, one in value.items()}
    return [_shown(one) for one in value] if isinstance(value, list | tuple) else value
