"""Contracts and documents beside each other: contracts that are found, tried, and held against what is there today."""
