"""Files that others read: all of a new one takes the old one's place, or nothing does."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, cast

from pipeline.errors import UsageError


@contextmanager
def replacing(path: Path, rights: int | None = None) -> Iterator[BinaryIO]:
    """Give what is written a file's place when the block ends without an error; else what is there stays.

    A link stays one, to what is written. Where there is a pipe or a device, that is written to.

    Args:
        path: The place.
        rights: Of the file, such as ``0o644``; those that the umask leaves if it is None.

    Raises:
        UsageError: It can't be written there.
    """
    made = ""
    try:
        place = Path(os.path.realpath(path))  # Path.resolve fails of links in a circle
        if place.is_dir():
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if place.exists() and not place.is_file():
            with place.open("wb") as file:
                yield file
            return
        with _beside(place) as file:
            made = file.name
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(made, 0o666 & ~_umask() if rights is None else rights)
        os.replace(made, place)
        made = ""
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror or error}") from error
    finally:
        if made:
            with suppress(OSError):
                os.unlink(made)


def write_whole(path: Path, data: str, rights: int | None = None) -> int:
    """Write a text as :func:`replacing` does, in UTF-8, and return its size in bytes.

    Raises:
        UsageError: It can't be written there.
    """
    with replacing(path, rights) as file:
        return file.write(data.encode("utf-8", "backslashreplace"))


def check_writable(path: Path) -> None:
    """Refuse a place where nothing can be written, before what is to stand there is made; make its folder.

    Raises:
        UsageError: There can be no file.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() or not path.exists():
            with _beside(Path(os.path.realpath(path))) as file:
                os.unlink(file.name)
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror or error}") from error


def _beside(place: Path) -> BinaryIO:
    return cast("BinaryIO", NamedTemporaryFile(dir=place.parent, prefix=f".{place.name[:100]}.", delete=False))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
