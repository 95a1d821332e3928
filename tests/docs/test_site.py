"""The site holds all pages, in the order of one file, and no link of it leads nowhere."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def _pages(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for one in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _pages(one)


def test_each_page_has_its_place_in_the_order() -> None:
    order = list(_pages(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    assert sorted(order) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


@pytest.mark.skipif(find_spec("zensical") is None and "CI" not in os.environ, reason="the extra docs is not installed")
def test_no_link_leads_nowhere(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    index = (tmp_path / "site" / "index.html").read_text()
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://[^"]*"', index), "fetched from elsewhere"


def test_links_from_the_pages_in_the_root_lead_somewhere() -> None:
    for readme in ROOT.glob("*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", readme.read_text()):
            assert (ROOT / target).exists(), f"{readme.name} links {target}"


def test_the_russian_readme_shows_the_same_as_the_english_one() -> None:
    english, russian = ((ROOT / name).read_text() for name in ("README.md", "README.ru.md"))
    for part in (r"^```.*?^```$", r"^#+ ", r"^\| (?:`[^|]+`) \|", r"\]\(docs/[^)]+\)"):
        shown = [re.findall(part, text, re.DOTALL | re.MULTILINE) for text in (english, russian)]
        assert shown[0] == shown[1]
