"""The use cases of the copy: replicate, sync, repair, verify."""
