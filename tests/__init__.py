"""Tests, the pure-integer reference and the published vectors."""
