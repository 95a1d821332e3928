"""The databases: one package each; both targets show the same methods in the same order (`base`)."""
