"""Documents that MongoDB can't read at one moment are read once, as fast as they come, and kept in a file meanwhile."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

from pipeline.errors import EtlError
from transforms.bson.documents import split_documents

_CHUNK = 2**20
_LENGTH = 4  # bytes, with which a document begins


@dataclass(frozen=True)
class Spool:
    """What was read; as a context, until it is not wanted any more.

    Attributes:
        file: Holds the BSON of the documents, one after the other.
        documents: How many there are.
    """

    file: IO[bytes]
    documents: int

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def batches(self) -> Iterator[bytes]:
        """Yield the documents in the order in which they were read, some at a time."""
        self.file.seek(0)
        rest = b""
        while more := self.file.read(_CHUNK):
            rest += more
            end = _end_of_whole(rest)
            if end:
                yield rest[:end]
            rest = rest[end:]


def spool(batches: Iterable[bytes], what: str) -> Spool:
    """Keep documents in a temporary file, which goes when it is closed.

    Args:
        batches: BSON documents, one after the other, some at a time.
        what: What people call them.

    Raises:
        EtlError: There is no room for them.
    """
    documents = 0
    try:
        with ExitStack() as stack:
            file = stack.enter_context(TemporaryFile())
            for batch in batches:
                file.write(batch)
                documents += len(split_documents(batch))
            file.flush()
            stack.pop_all()  # it stays open as long as what was read is wanted
    except OSError as error:
        raise EtlError(
            f"{what} can't be kept in the folder of temporary files: {error.strerror}; set TMPDIR"
        ) from error
    return Spool(file, documents)


def _end_of_whole(data: bytes) -> int:
    """Return where the last document ends that is there whole."""
    at = 0
    while at + _LENGTH <= len(data):
        length = int.from_bytes(data[at : at + _LENGTH], "little")
        if at + length > len(data):
            break
        at += length
    return at
