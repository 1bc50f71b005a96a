"""Runs the command of this role: python -m perf."""

from perf.cli import main

main()
