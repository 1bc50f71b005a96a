"""Settings of the whole suite."""

from __future__ import annotations

import os

from hypothesis import settings

# A busy machine is no failure; continuous integration repeats the same examples.
settings.register_profile("twokey", deadline=None, print_blob=True)
settings.register_profile("ci", settings.get_profile("twokey"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "twokey")
