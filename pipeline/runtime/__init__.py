"""The process itself: its memory, its threads, its waits, its retries and its signals."""
