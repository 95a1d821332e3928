"""The report: what marts and books say, as one HTML file for people who look rather than query."""
