"""What becomes of slots and faces: settled, burned, told to the cameras (protocol section 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from party.batches import Settled, check_name
from party.intake import HeldFaces
from party.journal import BatchOutcome
from party.material import PartySet
from party.prepare import CheckHeader
from party.slots import SetLedger
from party.windowstate import Moment, WindowState
from shared.errors import MaterialDamaged
from shared.intervals import Intervals
from shared.messages import (
    BURNED,
    VERIFIED,
    Burned,
    FaceAck,
    Outcome,
    Run,
    pack_runs,
)


class WindowOutcomes(WindowState):
    """Records outcomes durably, then tells cameras and peer."""

    def settle(self, settled: Settled, moment: Moment) -> None:
        """Records verified bits, then tells the cameras."""
        self.events.record(settled.event_batch(self.spec.name, moment.wall_ms))
        self.journal.finish(settled.batch_id, BatchOutcome.VERIFIED)
        self.matched_faces += settled.faces
        for run in settled.runs:
            self._finish(run, VERIFIED)

    def count_latency(self, batch: Sequence[HeldFaces], moment: Moment) -> None:
        """How long the faces of a batch that is verified now were held."""
        faces = [held.run.length for held in batch]
        self.latency.add([held.since for held in batch], faces, moment.seconds)

    def burn(self, runs: Sequence[Run], reason: str, *, tell: bool = True) -> None:
        """Burns slots for ever, durably, with the faces held in them; tells peer and cameras.

        Revealed slots are left to their batch.
        """
        held = [held.run for run in runs for held in self.intake.overlapping(run)]
        todo = self._unrevealed([*runs, *held])
        if todo:
            self.journal.burn(todo)
            self._announce_burned(todo, reason)
        self._release(runs, reason)
        if tell and todo and self.session is not None:
            self.send(Burned(self.session, pack_runs(todo)))

    def burn_check(self, header: CheckHeader, reason: str) -> None:
        """A check has not passed: its slots are burned, with the faces held in them."""
        self.journal.fail_check(check_name(header.session, header.check))
        self._burned_already(header.runs, reason)

    def damaged(self, error: MaterialDamaged) -> None:
        """Slots whose material can not be read are burned; all the others go on."""
        self.events.announce("material damaged", f"window {self.spec.name}: {error}")
        self.burn([Run(error.set_id, error.first, error.length)], "their material is damaged")

    def work_ahead(self, limit: int) -> bool:
        """As its base, but never ended by damaged material."""
        try:
            return super().work_ahead(limit)
        except MaterialDamaged as error:
            self.damaged(error)
            return True

    def lost_in_batch(self, faces: Iterable[HeldFaces], reason: str) -> None:
        """These faces' slots are burned already: say so to operators and cameras."""
        for held in faces:
            self.events.record_burned(held.owner.name, held.run, held.times, reason)
            self._finish(held.run, BURNED)

    def finish_burned(self, run: Run) -> None:
        """These slots' batch failed: the camera has nothing more to do."""
        self._finish(run, BURNED)

    def cannot_verify(self, held: HeldFaces) -> None:
        """A face that only the peer can still confirm: the camera has nothing more to do."""
        held.owner.finish(held.run.first, held.run.length)
        self._acknowledge(held.owner, held.run, BURNED)

    def _unrevealed(self, runs: Iterable[Run]) -> list[Run]:
        """The slots of these runs that have not left and are not burned yet, each once."""
        wanted: dict[bytes, Intervals] = {}
        for run in runs:
            wanted.setdefault(run.set_id, Intervals()).add(run.first, run.length)
        for set_id, slots in wanted.items():
            ledger = self.ledger(set_id)
            slots.difference_update(ledger.revealed)
            slots.difference_update(ledger.burned)
        return [Run(set_id, *part) for set_id, slots in wanted.items() for part in slots]

    def _burned_already(self, runs: Sequence[Run], reason: str) -> None:
        """The journal has burned these slots: say so, and burn whole messages that lie in them."""
        self._announce_burned(runs, reason)
        self.burn(runs, reason)

    def _announce_burned(self, runs: Iterable[Run], reason: str) -> None:
        slots = sum(run.length for run in runs)
        self.events.announce("burned", f"window {self.spec.name}: {slots} slots: {reason}")

    def _release(self, runs: Iterable[Run], reason: str) -> None:
        for run in runs:
            self._burned_ahead.add(run.set_id)
            self.sets[run.set_id].finish(run.first, run.length)
            lost = self.intake.overlapping(run)
            for held in lost:
                self.intake.remove(held.run)
            self.lost_in_batch(lost, reason)

    def _finish(self, run: Run, outcome: int) -> None:
        owner = self.sets[run.set_id]
        owner.finish(run.first, run.length)
        self._acknowledge(owner, run, outcome)

    def _acknowledge(self, owner: PartySet, run: Run, outcome: int) -> None:
        name = owner.name
        ack = FaceAck(
            name.window, name.camera, name.mint_id, (Outcome(run.first, run.length, outcome),)
        )
        self.outbox.cameras.append((name.camera, ack))

    def _acknowledge_finished(self, ledger: SetLedger, held: HeldFaces) -> bool:
        """A resend of slots with an outcome gets that outcome again."""
        run = held.run
        first, length = run.first, run.length
        if ledger.done.covers(first, length):
            self._acknowledge(held.owner, run, VERIFIED)
        elif ledger.burned.intersects(first, length) or ledger.done.intersects(first, length):
            reason = "some slots of this message were burned"
            self.burn([run], reason)
            self.lost_in_batch([held], reason)
        elif ledger.revealed.intersects(first, length):
            if not self.in_flight:  # in no batch any more: this party will not verify it
                self._acknowledge(held.owner, run, BURNED)
        else:
            return False
        return True
