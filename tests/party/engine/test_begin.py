"""Beginning a session from folders, and the link over real sockets."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from party.engine import begin, multiply
from party.engine.link import SocketLink, connect, listen
from perf.deployment import free_ports
from perf.engine_stage import EngineStage, make_engine_stage
from shared.engine_messages import EngineRefused, SigmaCommit
from shared.engine_plan import INPUTS, MASK, TRIPLE
from shared.errors import (
    AuthenticationFailed,
    ConfigError,
    InputError,
    PeerVanished,
    ResourceError,
    SecurityError,
)
from shared.keys import create_identity

COUNTS = {INPUTS[0]: 3, TRIPLE: 3, MASK: 3}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> EngineStage:
    return make_engine_stage(tmp_path_factory.mktemp("begin"))


def address() -> str:
    return f"tcp://127.0.0.1:{free_ports(1)[0]}"


def test_two_folders_and_two_files_make_a_session_with_curve(stage: EngineStage) -> None:
    files, where = stage.mint(COUNTS), address()
    found: list[Any] = [None, None]

    def work(party: int) -> None:
        with begin(stage.root / f"p{party}", files[party], where, deadline=20) as session:
            x = session.input(0, (3,), [1, -2, 3] if session.party == 0 else None)
            found[party] = session.open(session.run(multiply(x, x)))

    threads = [threading.Thread(target=work, args=(party,)) for party in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(found[0], [1, 4, 9])
    assert np.array_equal(found[1], [1, 4, 9])


def test_what_is_missing_or_not_a_partys_is_refused(stage: EngineStage, tmp_path: Path) -> None:
    p0, p1 = stage.mint(COUNTS)
    with pytest.raises(InputError, match="expected a party's"):
        begin(stage.root / "dealer", p0, address())
    with pytest.raises(ConfigError, match="not found"):
        begin(stage.root / "p0", tmp_path / "none.tke", address())
    with pytest.raises(AuthenticationFailed, match="made for p1"):
        begin(stage.root / "p0", p1, address())
    with pytest.raises(ConfigError):
        begin(tmp_path, p0, address())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ResourceError, match="cannot listen"):
            begin(stage.root / "p1", p1, f"tcp://127.0.0.1:{taken.getsockname()[1]}", deadline=1)
    # None of this has spent the file.
    with pytest.raises(PeerVanished):
        begin(stage.root / "p1", p1, address(), deadline=0.05)


def exchange(link: SocketLink, message: SigmaCommit) -> None:
    link.send(message)
    link.receive()


def test_a_link_carries_messages_counts_bytes_and_keeps_strangers_out() -> None:
    ours, theirs, stranger = (
        create_identity("camera", name).curve_pair() for name in ("a", "b", "c")
    )
    message = SigmaCommit(bytes(32), 1, bytes(range(32)))
    with listen(theirs, ours.public, "tcp://127.0.0.1:*", deadline=5) as server:
        with pytest.raises(PeerVanished, match="not been heard of"):
            server.send(message)
        with (
            connect(stranger, theirs.public, server.endpoint(), deadline=0.2) as other,
            pytest.raises(PeerVanished),  # at the first step that notices
        ):
            exchange(other, message)
        with connect(ours, theirs.public, server.endpoint(), deadline=5) as client:
            client.send(message)
            assert server.receive() == message
            server.send(message)
            assert client.receive() == message
            assert client.bytes_sent == client.bytes_received == server.bytes_sent > 64
            server.send(EngineRefused("TamperDetected", "the session has ended"))
            with pytest.raises(SecurityError, match="the peer ended the session: TamperDetected"):
                client.receive()
            with pytest.raises(ResourceError, match="does not listen"):
                client.endpoint()
