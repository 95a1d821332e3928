"""The allocators of C and Arrow, told to give memory back."""

import ctypes

import pyarrow as pa

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # as <malloc.h> numbers them


def keep_little(memory: int) -> None:
    """Let large blocks leave the process when they are freed, and keep small ones; glibc alone can be told so.

    By itself glibc raises its threshold with the first large block that is freed, and then keeps blocks of many
    megabytes in the heaps of each thread, where they are in pieces by the time the next batch comes. What is below the
    threshold is used again and again: to have that from the system each time took a twentieth of a copy's time.

    Args:
        memory: Bytes that the process may take.
    """
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps its share beside that
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_MMAP_THRESHOLD, memory // 64)  # a batch
        mallopt(_TRIM_THRESHOLD, memory // 64)
        mallopt(_ARENA_MAX, 2)


def give_back() -> None:
    """Give back what is free: after a document of megabytes has been through, that is much."""
    pa.default_memory_pool().release_unused()
    if (malloc_trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        malloc_trim(0)
