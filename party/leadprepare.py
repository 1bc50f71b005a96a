"""P0's prepare checks of a window: which slots are next, their messages (protocol section 3)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from party.batches import check_name
from party.deadlines import refuse_late
from party.journal import Count
from party.prepare import CheckHeader, P0Committed, P0Started, start_p0
from party.schedule import CheckPlan, Demand, plan_check
from party.session import WindowSession
from party.windowstate import Moment
from shared.errors import ProtocolViolation
from shared.messages import Prep1, Prep3


@dataclass(slots=True)
class _Check:
    state: P0Started | P0Committed
    deadline: float


class LeadPrepare(WindowSession):
    """What `party.lead` prepares."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._next_number = 0
        self._checks: OrderedDict[int, _Check] = OrderedDict()
        self._wanting: dict[bytes, None] = {}  # sets to prepare, the longest waiting first

    def _want_all(self) -> None:
        """Places were bound: every set has something to prepare."""
        self._wanting = {set_id: None for set_id in self.sets if self.shared(set_id)}

    def _refuse_late_checks(self, moment: Moment) -> None:
        refuse_late("check", self._checks, moment.seconds)

    def _abandon_checks(self, reason: str) -> None:
        for check in self._checks.values():
            self.burn_check(check.state.header, f"the check did not pass: {reason}")
        self._checks.clear()

    def _start_checks(self, moment: Moment) -> None:
        if not self._wanting or self.table.epoch == 0 or not self.table.entries:
            return
        while len(self._checks) < self.limits.checks_in_flight:
            plan = self._plan()
            if plan is None:
                return
            attempts = self.journal.counts(self.spec.name)[Count.PREPARE_ATTEMPTS]
            if attempts >= self.limits.prepare_attempts:
                self.close(f"{attempts} prepare checks failed", moment)
                return
            number = self._number()
            header = CheckHeader(
                self.session or b"",
                number,
                self.params.digest(),
                self.table.digest(),
                plan.runs,
                plan.places,
            )
            self.journal.mark_in_prepare(check_name(header.session, number), plan.runs, plan.places)
            state, message = start_p0(
                header, self.opening_shares(header, self.table), self._seed(), self._nonce16()
            )
            self._checks[number] = _Check(state, moment.seconds + self.limits.check_deadline)
            self.send(message)

    def _plan(self) -> CheckPlan | None:
        """The next check; sets without work are not asked again until something happens."""
        demands = []
        for set_id in self._wanting:
            ledger = self.ledger(set_id)
            held = self.intake.highest(set_id)
            ahead = self.camera_mark(self.sets[set_id]) + self.limits.prepare_ahead
            urgent = held > ledger.mark.prepared
            demands.append(Demand(ledger, ahead, urgent))
        quantum = max(1, self.limits.prepare_ahead // 4)
        limit = self.limits.slots_per_check(self.table.numbers.used)
        plan = plan_check(demands, self.table.places, limit, min(quantum, limit))
        if plan is None:
            self._wanting.clear()
            return None
        for run in plan.runs:  # next time it is the others' turn
            self._wanting.pop(run.set_id, None)
            self._wanting[run.set_id] = None
        return plan

    def _prep1(self, message: Prep1) -> None:
        check = self._checks.get(message.check)
        if check is None or not isinstance(check.state, P0Started):
            raise ProtocolViolation(f"Prep1 of check {message.check} is not expected now")
        check.state, answer = check.state.receive(message, self._nonce16())
        self.send(answer)

    def _prep3(self, message: Prep3) -> None:
        check = self._checks.get(message.check)
        if check is None or not isinstance(check.state, P0Committed):
            raise ProtocolViolation(f"Prep3 of check {message.check} is not expected now")
        passed, answer = check.state.receive(message)
        self.keep(passed)
        del self._checks[message.check]
        # Places that were bound meanwhile are still to be opened for these slots.
        for run in passed.header.runs:
            self._wanting.setdefault(run.set_id)
        self.send(answer)

    def _number(self) -> int:
        number = self._next_number
        self._next_number += 1
        return number

    def _seed(self) -> bytes:
        return self.outbox.random(32)

    def _nonce16(self) -> bytes:
        return self.outbox.random(16)
