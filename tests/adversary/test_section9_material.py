"""Protocol section 9, keys and files: each attack fails, and succeeds without its protection."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from camera.journal import CameraJournal
from camera.sets import SetStore
from shared.errors import AuthenticationFailed, ConfigError, SlotReused
from shared.keys import PublicIdentity
from shared.materialheader import SignedHeader, read_header, seal_info
from shared.windowkeys import destroy_window_key, load_window_key, publish_window_key
from tests.adversary.material_stage import (
    CAMERA,
    NAME,
    STATES,
    WINDOW,
    Stage,
    masked,
    sealed_for_camera,
    set_up,
    states_in,
    stolen_states,
    unmasked,
    write,
)
from tests.reference.samples import FACES, drawn


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return set_up(tmp_path)


def test_the_stage_is_sound(stage: Stage) -> None:
    for slot in (0, 63, 64, 200):
        e = masked(STATES, slot, FACES[1])
        assert unmasked(STATES, slot, e) == FACES[1]
        assert unmasked((STATES[1], STATES[0][::-1]), slot, e) != FACES[1]
    assert states_in(stage, stage.file) == STATES


# -- row 8: long-term recipient keys ------------------------------------------------------


def test_a_recipient_key_that_is_kept_opens_a_recorded_window_later(
    stage: Stage, tmp_path: Path
) -> None:
    recorded = Path(shutil.copy(stage.file, tmp_path / "recorded.tkm"))
    e = masked(STATES, 70, FACES[1])
    # The window ends, its key is kept as a long-term one would be, and then stolen.
    assert unmasked(states_in(stage, recorded), 70, e) == FACES[1]


def test_a_window_key_destroyed_at_the_end_leaves_a_recorded_window_closed(
    stage: Stage, tmp_path: Path
) -> None:
    recorded = Path(shutil.copy(stage.file, tmp_path / "recorded.tkm"))
    destroy_window_key(stage.state, WINDOW.id)
    with pytest.raises(ConfigError):
        states_in(stage, recorded)
    # The long-term identity is stolen too: a key that it makes for the same window is another.
    publish_window_key(stage.camera, stage.state, tmp_path / "forged", WINDOW)
    with pytest.raises(AuthenticationFailed):
        states_in(stage, recorded)
    e = masked(STATES, 70, FACES[1])
    assert FACES[1] not in (unmasked(pair, 70, e) for pair in stolen_states(stage.state))


# -- row 10: the signature covers the header but not the encapsulated key -----------------

CHOSEN = (drawn("chosen state 0", 32), drawn("chosen state 1", 32))


def with_chosen_key(stage: Stage) -> SignedHeader:
    """The dealer's signed header, with states sealed by somebody else for the same camera."""
    signed = read_header(stage.file)
    recipient = load_window_key(stage.published, stage.camera.public, WINDOW.id)
    info = seal_info(NAME, "camera", recipient.key_id())
    header = replace(signed.header, sealed=recipient.seal(CHOSEN[0] + CHOSEN[1], info))
    return SignedHeader(header, header.encode(), signed.signature)


def test_a_key_that_the_dealer_did_not_seal_is_refused(stage: Stage, tmp_path: Path) -> None:
    forged = tmp_path / "forged.tkm"
    write(forged, with_chosen_key(stage), b"")
    with pytest.raises(AuthenticationFailed):
        states_in(stage, forged)


def test_a_signature_without_the_sealed_key_lets_anybody_choose_the_masks(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bare(signed: SignedHeader) -> bytes:
        return replace(signed.header, sealed=bytes(len(signed.header.sealed))).encode()

    def verify(signed: SignedHeader, dealer: PublicIdentity, where: str) -> None:
        dealer.verify(signed.signature, where, "material file", bare(signed))

    monkeypatch.setattr(SignedHeader, "verify", verify)
    signed = sealed_for_camera(stage, STATES)
    weak = replace(signed, signature=stage.dealer.sign("material file", bare(signed)))
    stage.file.unlink()
    write(stage.file, weak, b"")
    assert states_in(stage, stage.file) == STATES
    forged = tmp_path / "forged.tkm"
    write(forged, with_chosen_key(stage), b"")
    # The camera masks with what it finds there, and who chose it reads every face.
    e = masked(states_in(stage, forged), 5, FACES[1])
    assert unmasked(CHOSEN, 5, e) == FACES[1]


# -- row 11: the camera keeps its window key besides the ratchet --------------------------


def use_until(stage: Stage, slot: int) -> None:
    """The camera takes its file over and walks its ratchet up to this slot's block."""
    with CameraJournal(stage.state / "journal", limit_bytes=1 << 20) as journal:
        store = SetStore(stage.state, journal)
        found = store.adopt(stage.file, stage.dealer.public, CAMERA, "vectors-3")
        masker = store.masker(found)
        journal.raise_high_water(found.set_id, slot)
        state = masker.state_for(slot)
        assert state is not None
        journal.advance_ratchet(found.set_id, state)
        masker.close()


def test_a_stolen_camera_opens_nothing_of_the_day_before_its_ratchet_block(
    stage: Stage, tmp_path: Path
) -> None:
    recorded = Path(shutil.copy(stage.file, tmp_path / "recorded.tkm"))
    use_until(stage, 130)
    assert not stage.file.exists()
    with pytest.raises(ConfigError):
        states_in(stage, recorded)
    pairs = list(stolen_states(stage.state))
    for slot in (10, 100):
        e = masked(STATES, slot, FACES[1])
        assert FACES[1] not in (unmasked(pair, slot, e, slot // 64) for pair in pairs)
        assert FACES[1] not in (unmasked(pair, slot, e) for pair in pairs)
    # What lies ahead is open to the thief, which shows that the search finds what is there.
    e = masked(STATES, 140, FACES[1])
    assert FACES[1] in (unmasked(pair, 140, e, 2) for pair in pairs)
    with CameraJournal(stage.state / "journal", limit_bytes=1 << 20) as journal:
        (found,) = SetStore(stage.state, journal).sets.values()
        masker = SetStore(stage.state, journal).masker(found)
        with pytest.raises(SlotReused):
            masker.state_for(100)


def test_a_camera_that_keeps_its_window_key_gives_the_whole_day_away(
    stage: Stage, tmp_path: Path
) -> None:
    recorded = Path(shutil.copy(stage.file, tmp_path / "recorded.tkm"))
    kept = tmp_path / "kept"
    shutil.copytree(stage.state, kept)
    use_until(stage, 130)
    stolen = replace(stage, state=kept)
    for slot in (10, 100):
        e = masked(STATES, slot, FACES[1])
        assert unmasked(states_in(stolen, recorded), slot, e) == FACES[1]
