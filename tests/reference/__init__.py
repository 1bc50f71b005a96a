"""The protocol once more in plain Python integers: slow, obvious, written from docs/encodings.md.

Nothing here imports the programs; tests/test_vectors.py compares them with this.
"""
