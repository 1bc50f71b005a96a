"""Nothing secret where it can be found later: logs, status, events; keys gone when they must be."""

from __future__ import annotations

import base64
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest
import zmq.utils.z85

from party.eventlines import Status
from party.events import EventStore
from party.statefiles import EVENTS_FILE, LINES_FILE
from shared.errors import EXIT_INPUT
from shared.materialfile import MaterialFile
from shared.roles import RoleFolder
from shared.windowkeys import load_private_window_key
from tests.processes.child import CLOCK_AHEAD, FORGE, LEVEL
from tests.processes.world import CAMERA, PARTIES, World, make_world

ROLES = (*PARTIES, CAMERA)


@pytest.fixture
def root() -> Iterator[Path]:
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="twokey-keys-", dir=memory if memory.is_dir() else None))
    yield path
    shutil.rmtree(path)


def material(world: World, who: str) -> Path:
    (path,) = (world.root / who / "material").glob("*.tkm")
    return path


def keys(world: World, who: str) -> list[Path]:
    return list((world.state(who) / "window-keys").glob("*.key"))


def secrets_of(world: World, who: str) -> dict[str, bytes]:
    """Everything that this role must never show, by what it is."""
    folder = RoleFolder(world.root / who)
    role = "camera" if who == CAMERA else who
    identity = folder.identity()
    plain = orjson.loads((folder.state / "identity.key").read_bytes())
    key = load_private_window_key(folder.state, world.made.window.id, role, who)  # type: ignore[arg-type]
    found = {
        "signing key": bytes.fromhex(plain["signing_secret"]),
        "transport key": zmq.utils.z85.decode(identity.curve_pair().secret),
        "window key": bytes.fromhex(orjson.loads(keys(world, who)[0].read_bytes())["secret"]),
    }
    with MaterialFile.open(
        material(world, who),
        dealer=folder.trusted().the("dealer"),
        window_key=key,
        params=world.made.params,
        camera=CAMERA,
    ) as file:
        if who == CAMERA:
            seeds = file.camera_seeds()
            found["ratchet of P0"] = seeds.ratchet0.reveal()
            found["ratchet of P1"] = seeds.ratchet1.reveal()
        else:
            shares = file.party_seeds()
            found["set key"] = shares.key.reveal()
            found["ratchet"] = shares.ratchet.reveal()
    return found


def forms(secret: bytes) -> dict[str, bytes]:
    """The ways in which a secret might be printed."""
    found = {
        "raw": secret[:16],
        "hex": secret.hex()[:32].encode(),
        "HEX": secret.hex()[:32].upper().encode(),
        "repr": repr(secret[:16])[2:-1].encode(),
        "list": ", ".join(map(str, secret[:8])).encode(),
        "z85": zmq.utils.z85.encode(secret[:16]),
    }
    for shift in range(3):
        found[f"base64+{shift}"] = base64.b64encode(secret[shift : shift + 15])
        found[f"base64url+{shift}"] = base64.urlsafe_b64encode(secret[shift : shift + 15])
    return found


def files_to_search(world: World) -> list[Path]:
    """All that the roles have written, save the files that are there to hold secrets."""
    return [
        path
        for path in world.root.rglob("*")
        if path.is_file()
        and path.suffix not in (".key", ".tkm", ".npy")
        and ".ratchet-" not in path.name
    ]


def test_a_session_at_debug_level_shows_no_secret_in_any_form(root: Path) -> None:
    with make_world(root / "world", 24) as world:
        secrets = {who: secrets_of(world, who) for who in ROLES}
        world.environment[LEVEL] = "debug"
        for who in ROLES:
            world.start(who)
        for who in ROLES:
            world.until(
                lambda who=who: _core_limit(world.processes[who].pid) == ("0", "0"),  # type: ignore[misc]
                20,
                f"no core dumps of {who}",
            )
        world.until(world.done, 60, "an outcome for every face")
        world.settle()
        files = files_to_search(world)
        assert {path.name for path in files} >= {"p0.log", "status.json", LINES_FILE, EVENTS_FILE}
        assert "debug party" in world.log("p0")
        contents = {path: path.read_bytes() for path in files}
        shown = [
            f"{path.relative_to(world.root)}: {what} of {who} as {form}"
            for who, known in secrets.items()
            for what, secret in known.items()
            for form, text in forms(secret).items()
            for path, content in contents.items()
            if text in content
        ]
        assert shown == []
        # The search finds what is there: a masked face is in the log, and public.
        assert re.search(r"first masked face begins [0-9a-f]{32}", world.log("p0"))
        # Faces themselves are nowhere at the parties, in any width.
        for face in world.faces:
            for width in ("<i2", "<i4", "<i8", "<f4"):
                text = face.astype(width).tobytes()
                assert not any(
                    text in content
                    for path, content in contents.items()
                    if "watchlist" not in str(path)
                )


def _core_limit(pid: int) -> tuple[str, str]:
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith("Max core file size"):
            soft, hard = line.split()[4:6]
            return soft, hard
    return "?", "?"


def test_after_a_window_its_keys_are_gone_and_a_copied_file_stays_closed(root: Path) -> None:
    limits = {"clock_tolerance": 1.0, "confirm_deadline": 1.0}
    with make_world(root / "world", 8, limits=limits, seconds=12.0) as world:
        copies = {who: material(world, who).read_bytes() for who in ROLES}
        names = {who: material(world, who) for who in ROLES}
        for who in ROLES:
            assert len(keys(world, who)) == 1
            world.start(who)
        world.until(world.done, 30, "an outcome for every face")
        assert keys(world, CAMERA) == []
        world.until(lambda: not keys(world, "p0") and not keys(world, "p1"), 30, "keys destroyed")
        assert [names[who].exists() for who in ROLES] == [False] * 3
        assert [world.stop(who) for who in PARTIES] == [0, 0]
        # A thief's copy, and the clock of a machine that believes the window is on.
        world.environment[CLOCK_AHEAD] = str(-time.time() + world.made.window.start_ms / 1000 + 5)
        for who in PARTIES:
            names[who].write_bytes(copies[who])
            world.start(who)
            assert world.processes[who].wait(30) == EXIT_INPUT
            assert f"{world.made.window.id}.key" in world.log(who).splitlines()[-1]
            assert world.log(who).splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(("liar", "message"), [("p0", "Reveal0"), ("p1", "Reveal1")])
def test_after_a_lie_no_result_is_released_and_both_sides_keys_are_gone(
    root: Path, liar: str, message: str
) -> None:
    honest = "p1" if liar == "p0" else "p0"
    with make_world(root / "world", 40) as world:
        copy, path = material(world, honest).read_bytes(), material(world, honest)
        world.environment[FORGE] = message
        world.start(liar)
        world.environment.clear()
        world.start(honest)
        world.start(CAMERA)
        world.until(lambda: not keys(world, honest), 60, "the honest side destroys its key")
        world.until(lambda: not keys(world, liar), 20, "so does the other one, being told")
        assert not path.exists()
        world.kill(CAMERA)
        assert [world.stop(who) for who in PARTIES] == [0, 0]
        state = world.state(honest)
        with EventStore(state / EVENTS_FILE, state / LINES_FILE) as store:
            assert [e for e in store.events() if e.status is Status.VERIFIED] == []
            # Who checks first detects it, and tells the other one.
            told = [a for a in store.announcements() if a.kind in ("tamper", "refused")]
            assert any(
                "TamperDetected" in a.detail or "confirmation is wrong" in a.detail for a in told
            )
        path.write_bytes(copy)
        world.start(honest)
        assert world.processes[honest].wait(30) == EXIT_INPUT
        assert world.log(honest).splitlines()[-1].startswith("error: ")


def test_the_forms_that_are_searched_for_find_a_secret_in_each() -> None:
    secret = np.random.default_rng(1).bytes(32)
    printed = [
        secret,
        secret.hex().encode(),
        repr(secret).encode(),
        str(list(secret)).encode(),
        base64.b64encode(b"x" + secret),
        zmq.utils.z85.encode(secret),
    ]
    for text in printed:
        assert any(form in text for form in forms(secret).values())
