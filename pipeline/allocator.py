"""The allocators of C and Arrow, told to give memory back."""

import ctypes

import pyarrow as pa

_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # as <malloc.h> numbers them


def keep_little() -> None:
    """Let freed batches leave the process; does nothing where the C library is not glibc.

    By itself glibc raises its threshold with the first large block that is freed, and then keeps blocks of megabytes
    in the heaps of each thread, where they are in pieces by the time the next batch comes: measured, a tenth of the
    memory of a copy, and growing.
    """
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_MMAP_THRESHOLD, 4 * 2**20)
        mallopt(_ARENA_MAX, 2)


def give_back() -> None:
    """Give back what is free: after a document of megabytes has been through, that is much."""
    pa.default_memory_pool().release_unused()
    if (malloc_trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        malloc_trim(0)
