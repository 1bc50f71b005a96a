"""The camera's sets: taking a file over once, and forgetting what opened it (section 4)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import orjson

from camera.journal import CameraJournal
from camera.masking import Masker
from camera.ratchetfile import RatchetState
from shared.atomicfile import PRIVATE, read_small, write_atomic
from shared.errors import FormatError, HeaderMismatch, TwokeyError
from shared.keys import PublicIdentity
from shared.materialfile import CameraSeeds, MaterialFile, read_header
from shared.params import Parameters
from shared.sets import SetName
from shared.windowkeys import (
    Window,
    destroy_ended_window_keys,
    destroy_window_key,
    load_private_window_key,
    private_path,
)

log = logging.getLogger(__name__)
_FIELDS = {"mint_id", "window", "start_ms", "end_ms", "camera", "slots", "parameters"}


@dataclass(frozen=True, slots=True)
class OpenSet:
    """A set that this camera has taken over, with what is public of it."""

    name: SetName
    window: Window
    params: Parameters
    slots: int

    @property
    def set_id(self) -> bytes:
        """8 bytes that name the set."""
        return self.name.set_id()


class SetStore:
    """The sets in a camera's state folder."""

    def __init__(self, state: Path, journal: CameraJournal) -> None:
        self._state = state
        self._journal = journal
        self.sets: dict[bytes, OpenSet] = {}
        for known in journal.sets():
            self.sets[known.name.set_id()] = self._read(known.name)

    def adopt(self, path: Path, dealer: PublicIdentity, camera: str, model: str) -> OpenSet:
        """Takes a material file over. Afterwards neither it nor its window key is needed.

        Durable before the keys are destroyed. Raises typed errors for a file that is not for
        this camera and model.
        """
        header = read_header(path).header
        if header.params.model != model:
            raise HeaderMismatch(
                f"material file {path}: for model {header.params.model}, expected {model}"
            )
        window = header.window
        known = self.sets.get(header.set_name().set_id())
        if known is not None and not private_path(self._state, window.id).exists():
            path.unlink(missing_ok=True)  # a kill came before its end
            return known
        key = load_private_window_key(self._state, window.id, "camera", camera)
        try:
            with MaterialFile.open(
                path, dealer=dealer, window_key=key, params=header.params, camera=camera
            ) as file:
                header = file.header  # the verified one
                found = OpenSet(header.set_name(), header.window, header.params, header.slots)
                if known is None:
                    self._keep(found, file.camera_seeds())
        finally:
            key.destroy()
        self._forget_former(found)
        destroy_window_key(self._state, found.window.id)
        path.unlink(missing_ok=True)
        return found

    def adopt_all(
        self, folder: Path, dealer: PublicIdentity, camera: str, model: str, wall_ms: int
    ) -> TwokeyError | None:
        """Takes over every new file in a folder; one that is not acceptable is reported.

        A file whose window has ended is removed. Returns the first error, for a caller that has
        no set in the end.
        """
        first: TwokeyError | None = None
        for path in sorted(folder.rglob("*.tkm")):
            try:
                if read_header(path).header.window.end_ms <= wall_ms:
                    path.unlink()
                    log.info("%s: its window has ended, it is removed", path)
                else:
                    self.adopt(path, dealer, camera, model)
            except TwokeyError as error:
                log.error("%s", error)
                first = first or error
        return first

    def current(self, wall_ms: int) -> OpenSet | None:
        """The set of the window that runs now."""
        for found in self.sets.values():
            if found.window.start_ms <= wall_ms < found.window.end_ms:
                return found
        return None

    def masker(self, found: OpenSet) -> Masker:
        """The masks from the stored state on."""
        return Masker(found.params, self._journal.ratchet(found.set_id))

    def forget_ended(self, wall_ms: int) -> None:
        """Windows that have ended: messages dropped, ratchets erased, window keys destroyed."""
        for found in list(self.sets.values()):
            if wall_ms >= found.window.end_ms:
                self._forget(found, "has ended")
        for window in destroy_ended_window_keys(self._state, wall_ms):
            log.info("window %s has ended; its key is destroyed", window)

    def _keep(self, found: OpenSet, seeds: CameraSeeds) -> None:
        self._write(found)
        state = seeds.ratchet0.reveal() + seeds.ratchet1.reveal()
        self._journal.adopt_set(found.name, found.slots, RatchetState(0, state))
        self.sets[found.set_id] = found
        log.info("window %s: %d slots taken over", found.window, found.slots)

    def _forget_former(self, found: OpenSet) -> None:
        """Sets of the same window from earlier minting attempts: no party uses them any more."""
        for other in list(self.sets.values()):
            if other.window.id == found.window.id and other != found:
                self._forget(other, "was minted anew")

    def _forget(self, found: OpenSet, why: str) -> None:
        faces = sum(
            message.length for message in self._journal.pending() if message.set_id == found.set_id
        )
        if faces:
            log.warning(
                "window %s %s: %d faces that not both parties acknowledged are dropped",
                found.window.id,
                why,
                faces,
            )
        self._journal.forget_set(found.set_id)
        self._path(found.name).unlink(missing_ok=True)
        del self.sets[found.set_id]

    def _path(self, name: SetName) -> Path:
        return self._state / f"set-{name.set_id().hex()}.json"

    def _write(self, found: OpenSet) -> None:
        content = orjson.dumps(
            {
                "mint_id": found.name.mint_id.hex(),
                "window": found.window.id,
                "start_ms": found.window.start_ms,
                "end_ms": found.window.end_ms,
                "camera": found.name.camera,
                "slots": found.slots,
                "parameters": found.params.to_map(),
            }
        )
        write_atomic(self._path(found.name), content, "set", mode=PRIVATE, replace=True)

    def _read(self, name: SetName) -> OpenSet:
        path = self._path(name)
        try:
            values = orjson.loads(read_small(path, "set"))
        except orjson.JSONDecodeError:
            raise FormatError(f"set {path}: not JSON") from None
        if not isinstance(values, dict) or set(values) != _FIELDS:
            raise FormatError(f"set {path}: expected the fields {', '.join(sorted(_FIELDS))}")
        named = (name.mint_id.hex(), name.window, name.camera)
        if (values["mint_id"], values["window"], values["camera"]) != named:
            raise FormatError(f"set {path}: is not the one of camera {name.camera}")
        numbers = (values["start_ms"], values["end_ms"], values["slots"])
        if any(type(number) is not int for number in numbers):
            raise FormatError(f"set {path}: expected integers for times and slots")
        window = Window(name.window, *numbers[:2])
        return OpenSet(name, window, Parameters.from_map(values["parameters"]), numbers[2])
