"""The demonstration ends well only when everything is as expected, and says what is not."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from perf import demo_footage
from perf.demo import main
from perf.demo_footage import ExpectedFrame, Scene
from perf.demo_outcome import Record, compare, read_records
from perf.demo_stage import WATCHED
from perf.demo_traces import Trace, files_with, needles
from shared.errors import FormatError
from shared.watchlist import Person, Watchlist, encode
from tests.vision_support import NEEDS_VISION

START = 1_700_000_000_000
EXPECTED = (
    ExpectedFrame(0, 1, 0, ""),
    ExpectedFrame(250, 2, 1, "turned"),
    ExpectedFrame(500, 0, 0, ""),
)
RECORDS = {
    0: Record(START, "verified", ()),
    1: Record(START + 250, "verified", (WATCHED,)),
    2: Record(START + 250, "verified", ()),
}


def test_two_equal_reports_of_what_is_expected_have_no_deviation() -> None:
    found = compare(EXPECTED, (RECORDS, dict(RECORDS)), START, WATCHED)
    assert (found.faces, found.matches, found.unresolved, found.deviations) == (3, 1, 0, ())
    assert [row.entries for row in found.rows] == [(), (WATCHED,), ()]
    assert found.rows[1].verified_by == (2, 2)


def test_every_difference_is_a_deviation() -> None:
    burned = replace(RECORDS[2], status="burned")
    unresolved = replace(RECORDS[0], status="unresolved")
    stranger = replace(RECORDS[1], entries=("Somebody",))
    for first, second, lost in (
        ({**RECORDS, 1: replace(RECORDS[1], entries=())}, RECORDS, 0),  # only P1 has the match
        ({**RECORDS, 0: replace(RECORDS[0], entries=(WATCHED,))},) * 2 + (0,),  # a false match
        ({**RECORDS, 1: stranger},) * 2 + (0,),  # another entry
        ({**RECORDS, 2: burned}, {**RECORDS, 2: burned}, 1),
        (RECORDS, {**RECORDS, 0: unresolved}, 1),
        (RECORDS, {k: v for k, v in RECORDS.items() if k}, 1),  # P1 has no record of slot 0
        ({k: v for k, v in RECORDS.items() if k},) * 2 + (0,),  # a face less
        ({**RECORDS, 3: Record(START + 500, "verified", ())},) * 2 + (0,),  # a face more
        ({**RECORDS, 3: Record(START + 77, "verified", ())},) * 2 + (0,),  # at no frame's time
    ):
        found = compare(EXPECTED, (first, second), START, WATCHED)
        assert found.deviations, (first, second)
        assert found.unresolved == lost


def test_the_last_record_of_a_slot_counts_and_other_lines_are_refused() -> None:
    def line(status: str, entries: list[str]) -> bytes:
        return orjson.dumps(
            {
                "event": "face",
                "slot": 7,
                "captured": "2023-11-14T22:13:20.250Z",
                "status": status,
                "entries": entries,
            }
        )

    told = [
        orjson.dumps({"event": "announcement", "kind": "outage"}),
        line("unresolved", []),
        line("verified", [WATCHED]),
    ]
    assert read_records(told) == {7: Record(START + 250, "verified", (WATCHED,))}
    for bad in (b"{", b"[]", b"{}", b'{"event": "face"}'):
        with pytest.raises(FormatError):
            read_records([bad])


def test_the_search_finds_an_embedding_in_every_form() -> None:
    embedding = np.random.default_rng(3).normal(0, 0.1, 128)
    other = np.random.default_rng(4).normal(0, 0.1, 128)
    integers = np.rint(embedding * 4096).astype(np.int64)
    person = Person.of("A", embedding.astype(np.float32))
    contents = {
        "double": b"x" + embedding.tobytes(),
        "single": b"xyz" + embedding.astype("<f4").tobytes(),
        "short": integers.astype("<i2").tobytes() + b"end",
        "int": integers.astype("<i4").tobytes(),
        "long": integers.astype("<i8").tobytes(),
        "json": orjson.dumps(integers.tolist()),
        "watchlist": encode(Watchlist("m", 128, (person,))),
    }
    assert files_with(contents, needles(embedding)) == tuple(contents)
    assert files_with(contents, needles(other)) == ()


def test_a_found_stranger_and_a_blind_search_are_deviations() -> None:
    good = Trace("00", "{}", {}, {}, 1, 1, (), ("watchlist.jsonl",))
    assert good.deviations() == []
    assert len(replace(good, stranger_in=("events.sqlite",)).deviations()) == 1
    assert len(replace(good, watched_in=()).deviations()) == 1


@pytest.mark.slow
class TestPlayed:
    pytestmark = NEEDS_VISION

    def test_a_short_video_ends_in_the_expected_table_and_leaves_nothing_behind(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        monkeypatch.setattr(demo_footage, "SCENES", (Scene((3, 12)), Scene((25,), "half size")))
        monkeypatch.setattr(demo_footage, "FRAMES_PER_SCENE", 2)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.setattr("sys.argv", ["demo"])
        with pytest.raises(SystemExit) as caught:
            main()
        out = capfd.readouterr().out
        report = orjson.loads(out.splitlines()[-1])
        assert caught.value.code == 0, out
        assert report.pop("seconds") > 0
        assert report == {"faces": 8, "matches": 2, "unresolved": 0}
        assert out.count(f"{WATCHED}, half size") == 2
        assert list(tmp_path.iterdir()) == []
