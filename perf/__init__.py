"""Benchmarks; may import every role."""
