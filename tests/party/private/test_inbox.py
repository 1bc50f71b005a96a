"""What an inbox takes: whole files of the session's own cameras, each mask once."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from party.private.accept import check_masked, find_session
from party.private.inbox import Inbox
from shared.errors import (
    AuthenticationFailed,
    ConfigError,
    FormatError,
    HeaderMismatch,
    InputError,
)
from shared.keys import create_identity
from shared.masked_file import MaskedFile, read_masked, write_masked
from shared.trust import TrustedIdentities, read_offered
from tests.private_support import FACES, PARAMS, PrivateStage, make_private_stage


def folder(stage: PrivateStage) -> Path:
    path = stage.folder / "faces-0"
    path.mkdir(exist_ok=True)
    return path


def rewritten(stage: PrivateStage, path: Path, position: int) -> MaskedFile:
    """Two faces under masks from `position` on, as of a camera that was put back."""
    gate = stage.people["gate"].identity
    with stage.masks("gate") as masks:
        masks._used = position * PARAMS.coordinates
        return read_masked(write_masked(path, gate, masks, PARAMS, stage.rows(0, 2), times=(1, 2)))


def test_files_are_found_once_in_the_order_of_their_masks(stage: PrivateStage) -> None:
    inbox = stage.inbox(0)
    inbox.scan()
    assert inbox.open() == []
    later = stage.share(0, 2, stage.folder / "made")
    stage.share(2, 3, folder(stage))
    inbox.scan()
    (folder(stage) / later.name).write_bytes(later.read_bytes())
    (folder(stage) / "copy.tki").write_bytes(later.read_bytes())
    inbox.scan()
    assert [file.order for file in inbox.open()] == [(1, 0), (1, 2)]
    part = inbox.open()[1].part(2)
    assert (part.count, part.mask, len(part.elements)) == (2, 2 * 7, 2 * 7)
    assert part.times.tolist() == [2, 3]


def test_masks_that_were_used_for_other_faces_are_refused_in_one_line(
    stage: PrivateStage, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = stage.inbox(0)
    stage.share(0, 3, folder(stage))
    inbox.scan()
    made = rewritten(stage, stage.folder / "again", 2)
    path = folder(stage) / "again.tki"
    path.write_bytes(made.encode())
    os.utime(path, (0, 0))
    with caplog.at_level(logging.ERROR):
        inbox.scan()
        inbox.scan()
    assert [record.message for record in caplog.records] == [
        f"masked file {path}: its masks were used for other faces"
    ]
    assert len(inbox.open()) == 1


def test_a_file_that_is_still_being_written_is_left_for_later_without_a_word(
    stage: PrivateStage, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = stage.inbox(0)
    inbox.scan()
    content = stage.share(0, 3, stage.folder / "made").read_bytes()
    path = folder(stage) / "slow.tki"
    path.write_bytes(content[:-20])
    with caplog.at_level(logging.ERROR):
        inbox.scan()
        assert caplog.records == []
        path.write_bytes(content)
        inbox.scan()
    assert [file.open for file in inbox.open()] == [3]
    assert caplog.records == []


def test_a_broken_file_that_nobody_writes_to_is_told_once(
    stage: PrivateStage, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = stage.inbox(0)
    inbox.scan()
    path = folder(stage) / "broken.tki"
    path.write_bytes(stage.share(0, 3, stage.folder / "made").read_bytes()[:-20])
    os.utime(path, (time.time() - 10,) * 2)
    with caplog.at_level(logging.ERROR):
        inbox.scan()
        inbox.scan()
    assert len(caplog.records) == 1
    assert "bytes, expected" in caplog.records[0].message


def test_files_of_another_session_and_lists_are_left_alone(
    stage: PrivateStage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = make_private_stage(tmp_path / "other")
    other.share(0, 2, folder(stage))
    stage.listed("faces-0")
    inbox = stage.inbox(0)
    with caplog.at_level(logging.ERROR):
        inbox.scan()
    assert inbox.open() == []
    assert caplog.records == []


def test_only_the_client_whose_masks_the_dealer_made_may_sign(
    stage: PrivateStage, tmp_path: Path
) -> None:
    session = stage.session(0)
    gate = stage.people["gate"].identity
    with stage.masks("gate") as masks:
        rows = stage.rows(0, 1)
        forged = write_masked(
            tmp_path, create_identity("camera", "gate"), masks, PARAMS, rows, times=(1,)
        )
        by_authority = write_masked(
            tmp_path, stage.people["registry"].identity, masks, PARAMS, rows, times=(1,)
        )
    for path in (forged, by_authority):
        with pytest.raises(AuthenticationFailed, match="not of camera gate"):
            check_masked(read_masked(path), session, stage.trusted)
    nobody = TrustedIdentities(tmp_path / "nobody")
    mine = read_masked(stage.share(0, 1, tmp_path / "made"))
    with pytest.raises(AuthenticationFailed, match="no trusted camera"):
        check_masked(mine, session, nobody)
    # An identity of another role with the very same name is not the camera.
    path = tmp_path / "authority.json"
    path.write_bytes(create_identity("authority", gate.name).public_file())
    nobody.add(*read_offered(path))
    with pytest.raises(AuthenticationFailed, match="no trusted camera"):
        check_masked(mine, session, nobody)
    assert check_masked(mine, session, stage.trusted) == gate.public


def test_what_is_for_other_parameters_sessions_or_rows_is_refused(
    stage: PrivateStage, tmp_path: Path
) -> None:
    session = stage.session(0)
    file = read_masked(stage.share(0, 2, tmp_path / "made"))
    gate = stage.people["gate"].identity

    def changed(**fields: object) -> MaskedFile:
        header = replace(file.header, **fields)  # type: ignore[arg-type]
        content = header.encode()
        return replace(
            file, header=header, content=content, signature=gate.sign("masked file", content)
        )

    for found, error in (
        (changed(name="list-2"), HeaderMismatch),
        (changed(mint_id=bytes(16)), HeaderMismatch),
        (changed(params_digest=bytes(32)), HeaderMismatch),
        (changed(client=2), HeaderMismatch),
        (changed(client=0), AuthenticationFailed),
        (changed(first=FACES - 1), FormatError),
        (changed(rows=1, columns=14, times=(1,)), FormatError),
        (changed(labels=("a",), times=()), FormatError),
    ):
        with pytest.raises(error):
            check_masked(found, session, stage.trusted)


def test_a_session_is_found_by_what_is_known_of_it(stage: PrivateStage, tmp_path: Path) -> None:
    dealer = stage.dealer.public
    material = tmp_path / "material"
    material.mkdir()
    with pytest.raises(ConfigError, match="session list-1 is not there"):
        find_session(material, dealer, name="list-1")
    (material / "broken.tke").write_bytes(b"twokey-e" + bytes(100))
    with pytest.raises(FormatError, match=r"broken\.tke"):
        find_session(material, dealer, name="list-1")
    (material / "broken.tke").unlink()
    (material / "a.tke").write_bytes(stage.paths["p0"].read_bytes())
    found = find_session(material, dealer, name="list-1", window="night")
    assert found.header.mint_id == stage.session(0).header.mint_id
    with pytest.raises(AuthenticationFailed):
        find_session(material, create_identity("dealer", "dealer").public, name="list-1")
    with pytest.raises(ConfigError):
        find_session(material, dealer, name="list-1", window="day")
    (material / "b.tke").write_bytes(stage.paths["p0"].read_bytes())
    with pytest.raises(InputError, match="found 2 files"):
        find_session(material, dealer, mint_id=found.header.mint_id)
    for wall_ms, says in ((0, "has not begun"), (1 << 50, "has ended")):
        with pytest.raises(InputError, match=says):
            found.check_open(wall_ms)
    assert isinstance(stage.inbox(0), Inbox)
