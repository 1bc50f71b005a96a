"""Runs the command of this role: python -m camera."""

from camera.cli import main

main()
