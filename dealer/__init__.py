"""The trusted crypto provider: mints correlated randomness ahead of time."""
