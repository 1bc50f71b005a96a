"""Runs the command of this role: python -m dealer."""

from dealer.cli import main

main()
