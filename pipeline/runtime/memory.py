"""The memory that this process may take: how it is shared out, and allocators that give it back."""

import ctypes
from dataclasses import dataclass

import pyarrow as pa

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # as <malloc.h> numbers them
_LIBRARIES = 192 * 2**20  # what the process takes before it has read a row


@dataclass(frozen=True)
class MemoryBudget:
    """How much of the memory is at work in each place at a time: every size of the project that depends on it.

    Attributes:
        total: Bytes that the process may take; servers are not counted.
    """

    total: int

    @property
    def batch(self) -> int:
        """Bytes of BSON that are decoded together; a copy takes some twenty times as much, the next ones included."""
        return self.total // 64

    @property
    def slow_batch(self) -> int:
        """Bytes of BSON that are looked at one by one: Python objects and reasons take more."""
        return self.total // 128

    @property
    def compared(self) -> int:
        """Bytes of BSON that are verified together: there are rows of MongoDB and of two stores."""
        return self.total // 128

    @property
    def insert(self) -> int:
        """Bytes of Arrow that are gathered for one insert into ClickHouse."""
        return self.total // 64

    @property
    def bucket(self) -> int:
        """Bytes of all tables that one piece of a mart is computed from: to compute and load takes four times that."""
        return (self.total - _LIBRARIES) // 4


def tune_allocators(memory: int) -> None:
    """Let large blocks leave the process when they are freed, and keep small ones; glibc alone can be told so.

    By itself glibc raises its threshold with the first large block that is freed, and then keeps blocks of many
    megabytes in the heaps of each thread, where they are in pieces by the time the next batch comes. What is below the
    threshold is used again and again: to have that from the system each time took a twentieth of a copy's time.

    Args:
        memory: Bytes that the process may take.
    """
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps its share beside that
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        largest = MemoryBudget(memory).batch
        mallopt(_MMAP_THRESHOLD, largest)
        mallopt(_TRIM_THRESHOLD, largest)
        mallopt(_ARENA_MAX, 2)


def release_memory() -> None:
    """Give back what is free: after a document of megabytes has been through, that is much."""
    pa.default_memory_pool().release_unused()
    if (malloc_trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        malloc_trim(0)
