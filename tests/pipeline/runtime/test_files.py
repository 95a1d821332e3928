"""A file that is written takes the old one's place whole, or not at all."""

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.runtime.files import check_writable, replacing, write_whole


def test_an_error_leaves_what_was_there_and_nothing_beside_it(tmp_path: Path) -> None:
    place = tmp_path / "report.html"
    assert write_whole(place, "é") == 2
    with suppress(KeyboardInterrupt), replacing(place) as file:
        file.write(b"half of")
        raise KeyboardInterrupt
    assert place.read_text("utf-8") == "é"
    assert [*tmp_path.iterdir()] == [place]


def test_links_stay_and_rights_are_those_of_the_umask_or_as_they_are_given(tmp_path: Path) -> None:
    place, link = tmp_path / "metrics", tmp_path / "link"
    place.touch(mode=0o600)
    link.symlink_to(place)
    before = os.umask(0o027)
    try:
        write_whole(link, "1")
        assert (link.is_symlink(), place.read_text(), place.stat().st_mode & 0o777) == (True, "1", 0o640)
        write_whole(link, "2", 0o644)
        assert (place.read_text(), place.stat().st_mode & 0o777) == ("2", 0o644)
    finally:
        os.umask(before)


def test_a_link_to_itself_gives_way(tmp_path: Path) -> None:
    place = tmp_path / "circle"
    place.symlink_to(place)
    check_writable(place)
    write_whole(place, "1")
    assert place.read_text() == "1"


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    check_writable(pipe)
    write_whole(pipe, "all of it")
    reader.join()
    assert (read, pipe.is_fifo()) == (["all of it"], True)


def test_where_nothing_can_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place, said in ((tmp_path, "Is a directory"), (tmp_path / "file" / "x", "Not a directory")):
        with pytest.raises(UsageError, match=said):
            write_whole(place, "")
        with pytest.raises(UsageError):
            check_writable(place)
    with pytest.raises(UsageError, match="No such file or directory"):
        write_whole(tmp_path / "no" / "folder", "")
    check_writable(tmp_path / "a" / "folder")
    assert (tmp_path / "a").is_dir() and not [*(tmp_path / "a").iterdir()]
