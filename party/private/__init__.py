"""Matching faces against a watchlist that neither party sees (docs/engine.md)."""
