"""Cluster times as numbers."""

from bson import Timestamp


def as_number(cluster_time: Timestamp) -> int:
    """Return a cluster time as one number: a later one is greater."""
    return cluster_time.time << 32 | cluster_time.inc


def as_timestamp(number: int) -> Timestamp:
    """Return the cluster time that :func:`as_number` made a number of."""
    return Timestamp(number >> 32, number & 0xFFFFFFFF)
