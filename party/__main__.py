"""Runs the command of this role: python -m party."""

from party.cli import main

main()
