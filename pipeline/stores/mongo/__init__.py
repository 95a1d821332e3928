"""MongoDB: what is read."""
