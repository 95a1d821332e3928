"""Measured speed, memory and exactness: ours, the floor under it, and other tools, side by side (``make bench``)."""
