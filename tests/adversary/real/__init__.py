"""Attacks on real processes: an honest party as it is, and one that runs other code than agreed."""
