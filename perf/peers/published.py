"""Figures of other systems at the same work, as they were measured or printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CONDITIONS: Final = (
    "One face (d = 128) against a public list of 150 entries, bits opened. Measured in November "
    "2026 on a 2-core AMD EPYC server (AVX-512, VAES), loopback, one thread a party, warm, "
    "medians; absolute times move by up to 2 between runs there. "
    "[K20] as printed, on 32 cores of 2020."
)


@dataclass(frozen=True, slots=True)
class Published:
    """A system. Times in ms a face for F faces at once, None where there is none.

    online_bytes: both directions. material: what a face needs beforehand, as text;
    material_bytes: the same in bytes for each party, where it is a file.
    """

    system: str
    security: str
    ms_one: float | None
    ms_hundred: float | None
    online_bytes: float
    material: str
    material_bytes: float | None
    making: str


SYSTEMS: Final = (
    Published(
        "[K20] as printed, 1 thread",
        "active",
        363,
        None,
        4_229_000,
        "104,551 MB of traffic",
        None,
        "571 s",
    ),
    Published(
        "MP-SPDZ spdz2k, formula as in [K20]",
        "active",
        5.9,
        None,
        1_240_000,
        "855 MB of traffic",
        None,
        "3.4 s",
    ),
    Published(
        "MP-SPDZ spdz2k, best program",
        "active",
        2.6,
        1.4,
        19_200,
        "40 MB of traffic",
        None,
        "210 ms",
    ),
    Published("SHARK", "claims active", 1.1, 0.176, 6_400, "139 kB (F = 100)", 139e3, "0.34 ms"),
    Published("MP-SPDZ dealer-ring", "passive", 1.8, 0.39, 15_900, "-", None, "included"),
    Published("MP-SPDZ semi2k, online", "passive", 0.83, 0.29, 10_700, "-", None, "3 ms"),
    Published("SPU semi2k", "passive", 7.5, 1.1, 21_000, "-", None, "-"),
    Published("CrypTen with TTP", "passive", 46, 0.68, 70_000, "18 kB", 18e3, "-"),
    Published("MPyC, 3 parties", "passive, honest majority", 65, 53, 700_000, "none", None, "none"),
    Published(
        "CKKS (TenSEAL), one pair only",
        "client learns the distance",
        13.7,
        None,
        566_000,
        "35 MB of keys",
        None,
        "0.2 s",
    ),
    Published(
        "CKKS (TenSEAL), 150 entries",
        "client learns all distances",
        740,
        None,
        566_000,
        "35 MB of keys",
        None,
        "0.2 s",
    ),
    Published("numpy, plaintext", "none", 0.005, 0.0005, 0, "0", None, "0"),
)


@dataclass(frozen=True, slots=True)
class ThesisRow:
    """[K20]'s table. online_bytes: both directions. making_seconds: of the material of a face."""

    threads: int
    online_ms: float
    online_bytes: float
    making_seconds: float


THESIS: Final = (
    ThesisRow(1, 363, 4_229_000, 571),
    ThesisRow(4, 102, 4_231_000, 143),
    ThesisRow(8, 66, 4_231_000, 81),
)
THESIS_TRAFFIC: Final = "104,551 MB of traffic a party makes its material with"
