"""A corrupted party's process against an honest one: each attack in a window of its own."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.adversary.attacks import attack
from tests.adversary.real.campaign import Campaign, prepared_campaign
from tests.adversary.real.catalogue import catalogue
from tests.adversary.real.judge import Findings

LONG = os.environ.get("TWOKEY_LONG") == "1"
ONLY_LONG = pytest.mark.skipif(not LONG, reason="set TWOKEY_LONG=1 to run it")
TOGETHER = 60  # windows of one pair of processes
SLOWNESS = (1.0, 3.0)  # tried in turn, until no window sees a deadline that is not of its attack
CONTROL = "none at all"


@pytest.fixture
def root() -> Iterator[Path]:
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="twokey-cheat-", dir=memory if memory.is_dir() else None))
    yield path
    shutil.rmtree(path)


def family(name: str) -> str:
    """What attacks have in common of which the short run makes one only."""
    for pattern in (
        r"P\d \w+\.\w+",
        r"P\d Refused .* in (?:none|its session)",
        r"P\d (?:tracks|kappa|tag|threshold|e\[|reveals|prepares a|prepares)",
    ):
        if found := re.match(pattern, name):
            return found.group() + (" again" if name.endswith("again") else "")
    spoilt = re.match(r"P\d [A-Z]\w+ (.*)", name)  # one kind of message for each way to spoil one
    return spoilt.group(1) if spoilt else name


def chosen(party: int) -> list[str]:
    """The attacks of the short run: one of every other family, by the other party those between."""
    families: dict[str, list[str]] = {}
    for name, make in catalogue(party).items():
        if not make().alone:
            families.setdefault(family(name), []).append(name)
    return [
        names[(7 * number + party) % len(names)]
        for number, names in enumerate(families.values())
        if number % 2 == party
    ]


def with_controls(party: int, names: Sequence[str]) -> list[str]:
    """A window without an attack at the beginning, in the middle and at the end.

    None beside attacks that change what the honest party knows of the other one in all windows.
    """
    known = catalogue(party)
    if any(known[name]().alone for name in names):
        return list(names)
    control = f"P{party} {CONTROL}"
    attacks = [name for name in names if name != control]
    middle = len(attacks) // 2
    return [control, *attacks[:middle], control, *attacks[middle:], control]


def fought(
    root: Path, party: int, names: Sequence[str], slowness: float
) -> tuple[Campaign, Findings]:
    """A campaign, and what it left behind."""
    campaign = prepared_campaign(root / f"{slowness}", party, names, slowness)
    campaign.run()
    return campaign, Findings(campaign)


def wage(root: Path, party: int, names: Sequence[str]) -> None:
    """All these attacks at once; each one is counted and judged."""
    names = with_controls(party, names)
    slowness = iter(SLOWNESS)
    campaign, findings = fought(root, party, names, next(slowness))
    while (findings.met_deadlines() or findings.fell_behind()) and (slower := next(slowness, None)):
        campaign, findings = fought(root, party, names, slower)
    if behind := findings.fell_behind():
        pytest.skip(f"this machine is too busy: windows without an attack: {'; '.join(behind)}")
    assert list(findings.problems()) == []
    failed = []
    for window in findings.windows.values():
        name = campaign.attacks[window.name].name
        if name.endswith(CONTROL):
            assert list(findings.judge(window)) == []
            continue
        try:
            with attack(name):
                wrong = list(findings.judge(window))
                assert wrong == [], f"{window.outcome()}; {'; '.join(wrong)}"
        except AssertionError as error:
            failed.append(str(error))
    assert failed == []


@pytest.mark.timeout(900)
@pytest.mark.parametrize("party", [0, 1])
def test_whatever_a_corrupted_party_does_the_honest_one_releases_nothing_wrong(
    root: Path, party: int
) -> None:
    wage(root, party, chosen(party))


def parts(party: int) -> Iterator[list[str]]:
    """All attacks, in parts for one pair of processes."""
    known = catalogue(party)
    alone = [name for name, make in known.items() if make().alone]
    others = [name for name in known if name not in alone]
    for names in (others, alone):
        yield from (names[i : i + TOGETHER] for i in range(0, len(names), TOGETHER))


PARTS = [
    pytest.param(party, number, id=f"P{party}-{number}")
    for party in (0, 1)
    for number in range(len(list(parts(party))))
]


@ONLY_LONG
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("party", "part"), PARTS)
def test_every_change_of_every_message_and_every_lie_is_caught(
    root: Path, party: int, part: int
) -> None:
    wage(root, party, list(parts(party))[part])
