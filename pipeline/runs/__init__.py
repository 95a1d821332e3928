"""What every run has in common: its pieces, what must hold before it publishes, its publish."""
