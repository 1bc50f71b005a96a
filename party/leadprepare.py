"""P0's prepare checks of a window: which slots are next, their messages (protocol section 3)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from party.batches import check_name
from party.deadlines import refuse_late
from party.journal import Count
from party.prepare import CheckHeader, P0Committed, P0Started, start_p0
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

    def _refuse_late_checks(self, moment: Moment) -> None:
        refuse_late("check", self._checks, moment.seconds)

    def _abandon_checks(self, reason: str) -> None:
        for check in self._checks.values():
            self.burn_check(check.state.header, f"the check did not pass: {reason}")
        self._checks.clear()

    def _start_check(self, moment: Moment) -> None:
        """One at a time: to compute its shares may take a while, and messages may have come."""
        if len(self._checks) >= self.limits.checks_in_flight:
            return
        plan = self.next_check.plan()
        if plan is None:
            return
        attempts = self.journal.counts(self.spec.name)[Count.PREPARE_ATTEMPTS]
        if attempts >= self.limits.prepare_attempts:
            self.close(f"{attempts} prepare checks failed", moment)
            return
        self.next_check.begun(plan.runs)
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
        self.send_durably(message)
        self.goes_on = True

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
            self.next_check.want(run.set_id)
        self.send(answer)

    def _number(self) -> int:
        number = self._next_number
        self._next_number += 1
        return number

    def _seed(self) -> bytes:
        return self.outbox.random(32)

    def _nonce16(self) -> bytes:
        return self.outbox.random(16)
