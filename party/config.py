"""The party's configuration file, `party.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from party.outbox import Limits
from shared.config import Config

_LIMITS = Limits()


class LimitsConfig(Config):
    """Deadlines in seconds, sizes in slots and faces, counts for a window."""

    check_deadline: float = Field(
        default=_LIMITS.check_deadline, gt=0, description="For a prepare check to pass."
    )
    confirm_deadline: float = Field(
        default=_LIMITS.confirm_deadline, gt=0, description="For each answer within a batch."
    )
    face_deadline: float = Field(
        default=_LIMITS.face_deadline,
        gt=0,
        description="P1: for a face to get into a batch before it is burned and announced.",
    )
    entry_deadline: float = Field(
        default=_LIMITS.entry_deadline,
        gt=0,
        description="P1: for an entry that both approved to get a place, before it is announced.",
    )
    peer_silence: float = Field(
        default=_LIMITS.peer_silence,
        gt=0,
        description="After this long without a message the session with the peer ends.",
    )
    clock_tolerance: float = Field(
        default=_LIMITS.clock_tolerance,
        ge=0,
        description="Between the clocks of the parties, and around a window's start and end.",
    )
    prepare_ahead: int = Field(
        default=_LIMITS.prepare_ahead,
        ge=1,
        description="Slots a camera that are kept prepared ahead of its faces.",
    )
    check_slots: int = Field(
        default=_LIMITS.check_slots, ge=1, le=4096, description="Slots in one prepare check."
    )
    checks_in_flight: int = Field(
        default=_LIMITS.checks_in_flight, ge=1, le=64, description="Prepare checks at a time."
    )
    batch_faces: int = Field(
        default=_LIMITS.batch_faces, ge=1, le=65536, description="Faces in one batch, at most."
    )
    batches_in_flight: int = Field(
        default=_LIMITS.batches_in_flight, ge=1, le=64, description="Batches at a time."
    )
    held_faces: int = Field(
        default=_LIMITS.held_faces,
        ge=1,
        description="Faces held, shared out evenly over the cameras.",
    )
    reserve_block: int = Field(
        default=_LIMITS.reserve_block,
        ge=1,
        description="Slots a camera marked ahead at once, or four times its faces in a batch where "
        "that is more; a power cut burns up to so many.",
    )
    outages: int = Field(
        default=_LIMITS.outages, ge=0, description="Outages in a window before it is closed."
    )
    prepare_attempts: int = Field(
        default=_LIMITS.prepare_attempts,
        ge=1,
        description="Failed prepare checks in a window before it is closed.",
    )

    def limits(self) -> Limits:
        """The same as the sessions use them."""
        return Limits(**self.model_dump())


class PartyConfig(Config):
    """A party of the two, in the folder that holds this file.

    Beside it lie `state/` (private keys, slot journal, events; no backup of it may ever be put
    back), `trusted/` (the identities of the dealer, the other party and the cameras) and
    `published/` (what is handed to the others).
    """

    party: Literal[0, 1] = Field(description="0 for P0, which starts batches, 1 for P1.")
    material: Path = Field(
        default=Path("material"), description="Folder of this party's material files."
    )
    watchlist: Path = Field(
        default=Path("watchlist.jsonl"), description="This party's copy of the watchlist."
    )
    threshold: float | None = Field(
        default=None,
        ge=0,
        description="The threshold on the squared distance that this party agrees to; a window "
        "made for another one is refused. Without it, the dealer's is taken.",
    )
    listen: str = Field(
        default="tcp://0.0.0.0:7702", description="Address on which cameras connect."
    )
    peer_address: str = Field(
        default="tcp://127.0.0.1:7701",
        description="P0: where P1 listens for it. P1: where it listens for P0.",
    )
    private_faces: Path = Field(
        default=Path("private-faces"),
        description="Folder into which cameras' masked faces for private matching are put.",
    )
    private_address: str = Field(
        default="tcp://127.0.0.1:7704",
        description="As peer_address, for private matching.",
    )
    threads: int = Field(
        default=1,
        ge=1,
        le=256,
        description="Threads of the numeric library; no more than cores are used.",
    )
    chunk_cache_mib: int = Field(
        default=256, ge=1, description="Memory for decrypted material chunks, in MiB."
    )
    metrics_listen: str = Field(
        default="",
        description="host:port for Prometheus metrics, e.g. 127.0.0.1:9702; empty: none.",
    )
    health_listen: str = Field(
        default="",
        description="host:port for /healthz and /readyz, e.g. 127.0.0.1:9703; empty: none.",
    )
    ready_disk_mib: int = Field(
        default=256, ge=0, description="Free space in MiB below which /readyz says no."
    )
    keep_events_days: float = Field(
        default=30.0,
        gt=0,
        description="So long after they were told, faces of ended windows stay in events.sqlite.",
    )
    announce_missing_seconds: float = Field(
        default=3600.0,
        ge=0,
        description="So long before a window ends it is announced that the next one's material "
        "is missing.",
    )
    open_ahead_seconds: float = Field(
        default=3600.0,
        ge=0,
        description="A window is opened, and prepared, this long before it starts.",
    )
    limits: LimitsConfig = LimitsConfig()
