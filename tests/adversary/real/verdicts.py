"""What an attack has to end in, for the honest party: the name of its error, or what it tells.

`nothing` is an attack without any effect. `told refused` and `told burned` are no errors of the
honest party: the corrupted one has refused something, or burned slots, which both may do.
"""

from __future__ import annotations

import re
from typing import Final

HARMLESS: Final = frozenset({"nothing", "told refused", "told burned"})
TAMPER: Final = frozenset({"TamperDetected"})
HEADER: Final = frozenset({"HeaderMismatch"})
STATE: Final = frozenset({"ProtocolViolation"})
SHAPE: Final = frozenset({"ProtocolViolation", "FormatError", "HeaderMismatch"})
VANISHED: Final = frozenset({"PeerVanished"})
STALE: Final = frozenset({"StaleMessage"})
REUSED: Final = frozenset({"SlotReused"})
OMITTED: Final = frozenset({"told omission"})
LISTS: Final = frozenset({"told watchlist"})
ACCUSED: Final = frozenset({"the peer refused: TamperDetected: for no reason"})

_STRUCTURE = r"(empty|a unit less|a unit more|first unit twice)$"
_UNSENT = r"(lost|late|without|with a|with its|with 5000|of another protocol|of an unknown|nested)"
# The first pattern that a name has decides; names are without the party.
_RULES: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    (r"\w+ reflected", STATE),
    # Hello: who they are, and what they hold.
    (r"Hello\.(party|params)", HEADER),
    (r"Hello\.(nonce|window)", HARMLESS | STALE),
    (r"Hello\.answers", STATE | HARMLESS | STALE),
    (r"Hello\.clock_ms (less|more)", HARMLESS),
    (r"Hello\.clock_ms", frozenset({"ClocksDiffer"})),
    # Another age that was told before, in another window, makes the true one that of a backup.
    (r"Hello\.generation (largest|sign bit) on meeting again", STATE | STALE),
    (r"Hello\.generation (largest|sign bit)", STATE),
    (r"Hello\.(generation|journal)", HARMLESS | STALE | {"told restored"}),
    (
        r"Hello\.(sets|prepared|used)",
        HARMLESS | SHAPE | VANISHED | STALE,
    ),
    (r"Hello\.approved", HARMLESS | LISTS | OMITTED | HEADER | STALE),
    (r"Hello ", HARMLESS | STALE),
    # Watchlists and places.
    (r"Approved\.session", LISTS | STALE | OMITTED | HARMLESS),
    (r"Approved", LISTS | HARMLESS | STALE | OMITTED | HEADER),
    (r"PlaceMap\.session", STALE | OMITTED | HARMLESS),
    (r"PlaceMap\.epoch", STATE | HARMLESS),
    (r"PlaceMap\.bindings", HEADER | REUSED | HARMLESS),
    (r"PlaceMap (twice|replayed)", STATE),
    (r"PlaceMap " + _UNSENT, OMITTED | STALE | HARMLESS),
    (r"PlaceMap ", HARMLESS | STALE | HEADER),
    (r"PlaceMapAgreed\.session", STALE | VANISHED),
    (r"PlaceMapAgreed\.epoch", STATE),
    (r"PlaceMapAgreed\.place_map", HEADER),
    (r"PlaceMapAgreed (twice|replayed)", STATE),
    (r"PlaceMapAgreed swapped", HARMLESS | STATE),
    (r"PlaceMapAgreed of another window", HEADER),
    (r"PlaceMapAgreed of the former", STALE),
    (r"PlaceMapAgreed ", VANISHED),
    # Signs of life.
    (r"Ping\.session", STALE | HARMLESS),
    (r"Ping\.clock_ms (less|more)", HARMLESS),
    (r"Ping\.clock_ms", frozenset({"told clock"})),
    (r"Ping", HARMLESS | STALE),
    # Prepare.
    (r"Prep0\.session", STALE | HARMLESS),
    (r"Prep0\.check (less|zero)", REUSED),
    (r"Prep0\.check (largest|sign bit)", STATE),
    (r"Prep0\.check", VANISHED),
    (r"Prep0\.(runs|places) a byte more", HARMLESS),
    (r"Prep0\.(params|place_map|places)", SHAPE),
    (r"Prep0\.runs", SHAPE | TAMPER | REUSED),
    (r"Prep0\.kappa " + _STRUCTURE, STATE),
    (r"Prep0\.kappa a byte more", HARMLESS),
    (r"Prep0\.(kappa|seed_commitment)", TAMPER),
    (r"Prep0 twice", REUSED),
    (r"Prep0 replayed", REUSED),
    (r"Prep0 of another camera", TAMPER | HEADER),
    (r"Prep0 of another window", HEADER | TAMPER),
    (r"Prep0 ", HARMLESS | STALE),
    (r"Prep[1-4]\.session", STALE | VANISHED),
    (r"Prep[1-4]\.check", STATE),
    (r"Prep1\.kappa " + _STRUCTURE, STATE),
    (r"Prep1\.kappa a byte more", VANISHED),
    (r"Prep[1-4]\.(kappa|seed|nonce|sigma|sigma_commitment|verdict)", TAMPER),
    (r"Prep[1-4] (twice|replayed)", STATE),
    (r"Prep[1-4] swapped", HARMLESS | STATE | VANISHED),
    (r"Prep[1-4] of another window", TAMPER),
    (r"Prep[1-4] of the former", STALE),
    (r"Prep[1-4] ", VANISHED | STALE),
    # Match.
    (r"Held\.session", STALE | OMITTED),
    (r"Held\.(runs|faces) a byte more", OMITTED),
    (r"Held\.(runs|faces)", SHAPE | OMITTED | {"told mismatch"}),
    (r"Held of another window", HEADER),
    (r"Held of the former", STALE),
    (r"Held (twice|replayed|swapped)", HARMLESS),
    (r"Held ", OMITTED | HARMLESS),
    (r"Reveal0\.session", STALE | HARMLESS),
    (r"Reveal0\.batch (largest|sign bit)", STATE),
    (r"Reveal0\.batch", VANISHED | REUSED),
    (r"Reveal0\.(params|place_map|faces)", HEADER),
    (r"Reveal0\.runs a byte more", HARMLESS),
    (r"Reveal0\.runs", HEADER | {"FormatError"}),
    (r"Reveal0\.(live|bits)", SHAPE | TAMPER),
    (r"Reveal0 (twice|replayed)", REUSED | HEADER),
    (r"Reveal0 of another (window|camera)", HEADER),
    (r"Reveal0 with its last byte missing", STATE),
    (r"Reveal0 ", HARMLESS | STALE),
    (r"Reveal1\.session", STALE | VANISHED),
    (r"Reveal1\.batch", STATE),
    (r"Reveal1\.commitment", TAMPER),
    (r"Reveal1\.bits", STATE | TAMPER),
    (r"Reveal1 (twice|replayed|with its last byte missing)", STATE),
    (r"Reveal1 swapped", HARMLESS),
    (r"Reveal1 of another window", TAMPER | STATE),
    (r"Reveal1 of the former", STALE),
    (r"Reveal1 ", VANISHED | STALE),
    (r"Confirm[01]\.session", STALE | VANISHED),
    (r"Confirm0\.batch", STATE),
    (r"Confirm1\.batch", VANISHED),
    (r"Confirm[01]\.(confirmation|nonce)", TAMPER),
    (r"Confirm0 (twice|replayed)", STATE),
    (r"Confirm1 (twice|replayed)", HARMLESS),
    (r"Confirm[01] swapped", HARMLESS),
    (r"Confirm[01] of another window", TAMPER),
    (r"Confirm[01] of the former", STALE),
    (r"Confirm[01] ", VANISHED),
    # Burned and refused, for no reason.
    (r"Burned", HARMLESS | SHAPE | STALE | VANISHED),
    (r"Refused 'TamperDetected' in its session", ACCUSED),
    (r"Refused", HARMLESS | STALE | VANISHED),
    (r"says slots", HARMLESS | VANISHED),
    # Other numbers than agreed.
    # An error of the highest bits alone passes now and then; it changes no kappa mod 2^n.
    (r"kappa \+0x40000000000000000000000000000000", TAMPER | {"nothing"}),
    (r"(tracks|threshold|e\[|kappa|tag of|forces)", TAMPER),
    # Slots, places and maps of its own choice.
    (r"prepares (the same|one place again|a slot twice|under a number)", REUSED),
    (r"prepares", HEADER | REUSED),
    (r"reveals", HEADER | REUSED),
    (r"a map", HEADER | REUSED),
    (r"more maps", STATE),
    (r"holds (more|fewer)", STATE),
    (r"holds slots that are not there", HEADER),
    (r"holds", HARMLESS),
    # Leaving out, and going away when it suits.
    (r"leaves faces out", OMITTED | VANISHED | STALE),
    (r"leaves out place", OMITTED),
    (r"changed watchlist: uses", VANISHED),
    (r"changed watchlist", OMITTED),
    (r"no map any more", OMITTED),
    (r"confirms again otherwise", STATE | HARMLESS),
    (r"(no Reveal1|no Confirm|silent|never any Confirm1)", VANISHED),
    (r"pings without end", HARMLESS | {"told clock"}),
    (r"hellos without end", HARMLESS | VANISHED | STALE),
    (r"none at all", frozenset({"nothing"})),
)


def expected_of(name: str) -> frozenset[str]:
    """The right outcomes of an attack, by its name. Raises ValueError when there is no rule."""
    _, _, deed = name.partition(" ")
    for pattern, outcomes in _RULES:
        if re.match(pattern, deed):
            return outcomes
    raise ValueError(f"no rule for {name}")
