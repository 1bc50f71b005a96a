"""Attacks that are really run, against the programs and against weakened variants."""
