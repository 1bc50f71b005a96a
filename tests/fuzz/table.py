"""The table of all targets."""

from __future__ import annotations

from tests.fuzz.file_targets import file_targets
from tests.fuzz.key_targets import key_targets
from tests.fuzz.store_targets import store_targets
from tests.fuzz.target import Target
from tests.fuzz.wire_targets import wire_targets
from tests.fuzz.world import World

NAMES = (
    "message between parties",
    "message of a camera",
    "message of the engine",
    "faces for a set",
    "offer of private faces",
    "runs",
    "intervals",
    "stored message of a camera",
    "material header",
    "material file",
    "material header, signed anew",
    "sealed keys",
    "material chunk",
    "parameters",
    "engine header",
    "engine file",
    "engine header, signed anew",
    "engine chunk",
    "file of masked numbers",
    "file of masked numbers, signed anew",
    "time",
    "kind of engine material",
    "public identity",
    "private identity",
    "trusted identity",
    "window key",
    "window key, signed anew",
    "private window key",
    "exported audit log",
    "exported audit log, signed anew",
    "configuration of a party",
    "configuration of a camera",
    "configuration of a dealer",
    "watchlist",
    "status of a party",
    "event lines",
    "stored batch",
    "stored places",
    "end of the audit log",
    "ratchet file",
    "ratchet state",
    "rows of a slot journal",
    "file of a slot journal",
    "rows of an event database",
    "file of an event database",
    "rows of an audit log",
    "file of an audit log",
    "rows of a camera journal",
    "file of a camera journal",
    "rows of an engine journal",
    "file of an engine journal",
    "set of a camera",
    "file of results",
    "arrays to replay",
)


def targets(world: World) -> dict[str, Target]:
    """By name, in the order of NAMES."""
    found: dict[str, Target] = {}
    for make in (wire_targets, file_targets, key_targets, store_targets):
        for target in make(world):
            found[target.name] = target
    return found
