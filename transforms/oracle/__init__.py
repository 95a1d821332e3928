"""What the stores must hold, worked out by another road than the copy's, and compared."""
