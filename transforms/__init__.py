"""HOW documents become rows: pure functions, frame in, frame out. No I/O, no clock, no environment."""
