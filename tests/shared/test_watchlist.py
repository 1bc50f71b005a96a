"""The watchlist file: strict when read, whole when written, the same digest for everybody."""

from __future__ import annotations

import errno
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.errors import DiskFull, FormatError, InputError, ModelMismatch, RangeError
from shared.hashing import digest
from shared.params import Parameters, for_bounds
from shared.watchlist import Person, Watchlist, append, decode, encode, load, save


def params(dim: int = 4, model: str = "small", fraction_bits: int = 12) -> Parameters:
    return for_bounds(
        dim=dim,
        places=3,
        threshold=0.3,
        face_norm=1.5,
        entry_norm=1.5,
        model=model,
        fraction_bits=fraction_bits,
    )


def vector(seed: int, dim: int = 4) -> NDArray[np.float64]:
    values = np.random.default_rng(seed).normal(size=dim)
    return np.asarray(values / np.linalg.norm(values))


def small_list(count: int = 2) -> Watchlist:
    return Watchlist("small", 4, tuple(Person.of(f"P{i}", vector(i)) for i in range(count)))


def lines() -> list[str]:
    return encode(small_list()).decode().splitlines()


def test_a_list_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    save(path, small_list(3))
    assert load(path) == small_list(3)


@given(st.text(max_size=20))
def test_every_accepted_name_survives_the_file(name: str) -> None:
    try:
        person = Person.of(name, vector(1))
    except FormatError:
        return
    assert decode(encode(Watchlist("small", 4, (person,)))).people == (person,)


def test_the_digest_is_that_of_the_encodings() -> None:
    entry = small_list(1).entries(params())[0]
    integers = [round(float(np.float32(v)) * 4096) for v in vector(0)]
    assert entry.coordinates.tolist() == integers
    content = b"".join(v.to_bytes(4, "little", signed=True) for v in integers)
    assert entry.digest == digest("entry", "small", "P0", content)


def test_two_copies_that_were_made_apart_agree_on_the_digest() -> None:
    mine = Watchlist("small", 4, (Person.of("Zoë", vector(5)),))  # composed
    theirs = Watchlist("small", 4, (Person.of("Zoe\u0308", vector(5).astype(np.float32)),))
    assert mine.entries(params())[0].digest == theirs.entries(params())[0].digest


def test_name_model_and_embedding_are_in_the_digest() -> None:
    def one(name: str, seed: int, model: str) -> bytes:
        people = (Person.of(name, vector(seed)),)
        return Watchlist(model, 4, people).entries(params(model=model))[0].digest

    base = one("A", 1, "small")
    assert len({base, one("B", 1, "small"), one("A", 2, "small"), one("A", 1, "other")}) == 4


def test_the_fraction_bits_of_the_window_count() -> None:
    coarse = small_list(1).entries(params(fraction_bits=8))[0]
    assert coarse.coordinates.tolist() == [round(float(np.float32(v)) * 256) for v in vector(0)]


@pytest.mark.parametrize("other", [params(model="other"), params(dim=5)])
def test_another_model_is_refused(other: Parameters) -> None:
    with pytest.raises(ModelMismatch, match="found model small with 4"):
        small_list().entries(other)


def test_an_entry_above_the_bound_is_named_and_not_clipped() -> None:
    people = (*small_list().people, Person.of("Long", 1.6 * vector(9)))
    with pytest.raises(RangeError, match="'Long': its norm is above the bound"):
        Watchlist("small", 4, people).entries(params())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(bad: float) -> None:
    with pytest.raises(RangeError, match="NaN"):
        Watchlist("small", 2, (Person.of("A", np.array([bad, 0.0])),))


@pytest.mark.parametrize(
    "name",
    ["", " A", "A ", "A\nB", "A\u202eB", "A\x00", "x" * 201, "Zoe\u0308"],
)
def test_a_name_that_can_be_misread_is_refused(name: str) -> None:
    with pytest.raises(FormatError):
        Person(name, b"")


def test_nobody_is_there_twice() -> None:
    with pytest.raises(FormatError, match="'P1': the name is there twice"):
        small_list().with_person(Person.of("P1", vector(7)))
    with pytest.raises(FormatError, match="'Q': has the embedding of 'P1'"):
        small_list().with_person(Person.of("Q", vector(1)))


HEADER, FIRST = lines()[0], lines()[1]
OBJECT = json.loads(FIRST)

FORGED = {
    "nothing": "",
    "no newline at the end": f"{HEADER}\n{FIRST}",
    "an empty line": f"{HEADER}\n\n{FIRST}\n",
    "no header": f"{FIRST}\n",
    "another format": HEADER.replace(": 1,", ": 2,") + "\n",
    "a format that is no integer": HEADER.replace(": 1,", ": true,") + "\n",
    "an unknown key in the header": HEADER.replace("}", ', "x": 1}') + "\n",
    "a dimension that is no integer": HEADER.replace("4}", "4.0}") + "\n",
    "a dimension of zero": HEADER.replace("4}", "0}") + "\n",
    "a dimension too large": HEADER.replace("4}", "4097}") + "\n",
    "a model that is no string": HEADER.replace('"small"', "7") + "\n",
    "an empty model": HEADER.replace('"small"', '""') + "\n",
    "a list for an entry": f"{HEADER}\n[]\n",
    "a list of pairs": f"{HEADER}\n" + json.dumps([["name", "A"], ["embedding", ""]]) + "\n",
    "no JSON": f"{HEADER}\nA, B\n",
    "deep nesting": f"{HEADER}\n{'[' * 100_000}\n",
    "a key twice": f"{HEADER}\n" + FIRST.replace("{", '{"name": "A", ') + "\n",
    "a missing key": f'{HEADER}\n{{"name": "A"}}\n',
    "an unknown key": f"{HEADER}\n" + json.dumps({**OBJECT, "note": ""}) + "\n",
    "a name that is no string": f"{HEADER}\n" + json.dumps({**OBJECT, "name": 1}) + "\n",
    "a name of spaces": f"{HEADER}\n" + json.dumps({**OBJECT, "name": " "}) + "\n",
    "no base64": f"{HEADER}\n" + json.dumps({**OBJECT, "embedding": "*"}) + "\n",
    "base64 outside ASCII": f"{HEADER}\n" + json.dumps({**OBJECT, "embedding": "é"}) + "\n",
    "short embedding": f"{HEADER}\n" + json.dumps({**OBJECT, "embedding": "AAAA"}) + "\n",
    "spare bits in base64": f"{HEADER}\n"
    + json.dumps({**OBJECT, "embedding": "AAAAAAAAAAAAAAAAAAAAAB=="})
    + "\n",
    "the same entry twice": f"{HEADER}\n{FIRST}\n{FIRST}\n",
}


@pytest.mark.parametrize("content", FORGED.values(), ids=FORGED.keys())
def test_a_forged_file_is_refused_in_one_line(content: str, tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(FormatError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    path.write_bytes(HEADER.encode() + b"\n\xff\n")
    with pytest.raises(FormatError, match="not UTF-8"):
        load(path)


def test_a_cut_anywhere_but_after_a_line_is_refused() -> None:
    whole = encode(small_list())
    ends = {i + 1 for i, byte in enumerate(whole) if byte == ord("\n")}
    for length in range(len(whole)):
        if length not in ends:
            with pytest.raises(FormatError):
                decode(whole[:length])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found"):
        load(tmp_path / "gone.jsonl")


def test_a_new_file_is_for_its_owner_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    save(path, small_list())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    save(path, small_list(3))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "w.jsonl"
    link.symlink_to(tmp_path / "real" / "w.jsonl")
    save(link, small_list())
    assert link.is_symlink()
    assert load(tmp_path / "real" / "w.jsonl") == small_list()


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.jsonl"
    save(path, small_list())

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="no space left"):
        save(path, small_list(3))
    assert load(path) == small_list()
    assert [p.name for p in tmp_path.iterdir()] == ["w.jsonl"]


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        append(tmp_path / "no" / "w.jsonl", Person.of("A", vector(1)), "small")


def test_appends_at_once_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: append(path, Person.of(f"P{i}", vector(i)), "small"), range(24)))
    found = load(path)
    assert found.model == "small"
    assert sorted(p.name for p in found.people) == sorted(f"P{i}" for i in range(24))


def test_an_append_of_another_model_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    save(path, small_list())
    with pytest.raises(ModelMismatch):
        append(path, Person.of("A", vector(9)), "other")
    assert load(path) == small_list()


def test_an_embedding_is_not_in_the_repr() -> None:
    person = Person.of("A", vector(1))
    assert repr(person) == "Person(name='A')"
    assert "embedding" not in repr(Watchlist("small", 4, (person,)))


def test_a_file_beyond_every_real_list_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.jsonl"
    save(path, small_list())
    monkeypatch.setattr("shared.watchlist.MAX_FILE_BYTES", 20)
    with pytest.raises(FormatError, match="larger than 20 bytes"):
        load(path)


def test_a_place_that_is_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Is a directory"):
        save(tmp_path, small_list())
