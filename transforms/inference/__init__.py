"""From documents to a contract: what was seen, what follows from it, and the file that says so."""
