"""The typed errors, and the exit code that each family ends a process with.

Every message is one line, says what was found and what was expected, and contains no secret.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_UNEXPECTED = 1  # the run finished, its outcome is not the expected one
EXIT_INPUT = 2  # usage, configuration, a file or a value that is not acceptable
EXIT_SECURITY = 3  # authentication or a protocol check failed
EXIT_RESOURCE = 4  # disk, lock, port, peer: try again when it is back


class TwokeyError(Exception):
    """The root of all typed errors."""

    exit_code = EXIT_UNEXPECTED


class InputError(TwokeyError):
    """Something given to the program is not acceptable; nothing was changed."""

    exit_code = EXIT_INPUT


class ConfigError(InputError):
    """A configuration file is missing, unreadable, or has an unknown or bad key."""


class RangeError(InputError):
    """A number is outside the range of protocol section 2 (never clipped)."""


class FormatError(InputError):
    """Bytes that do not decode strictly to what was expected."""


class ModelMismatch(InputError):
    """An embedding of one model was offered where another one is expected."""


class NoFace(InputError):
    """An image in which exactly one face was expected has none, or several."""


class WeightsMissing(InputError):
    """A model's weights are not in place, or are not the known ones."""


class SecurityError(TwokeyError):
    """Authentication or a protocol check failed; what it covered is not used."""

    exit_code = EXIT_SECURITY


class AuthenticationFailed(SecurityError):
    """A signature, key, tag or encrypted chunk does not verify."""


class MaterialDamaged(SecurityError):
    """A chunk of material can not be read; its slots must not be used.

    set_id, first, length: these slots.
    """

    def __init__(
        self, message: str = "", set_id: bytes = b"", first: int = 0, length: int = 0
    ) -> None:
        super().__init__(message)
        self.set_id = set_id
        self.first = first
        self.length = length


class TamperDetected(SecurityError):
    """A check of protocol section 3 failed: the peer deviated. No result is released.

    transcript: of the check or batch until then (32 bytes), for the audit log.
    """

    def __init__(self, message: str = "", transcript: bytes = b"") -> None:
        super().__init__(message)
        self.transcript = transcript


class PeerVanished(SecurityError):
    """The peer saw our value and gave no valid opening in time; treated as a failed check."""


class HeaderMismatch(SecurityError):
    """The peer's header names other parameters, material, places or slots than ours."""


class ProtocolViolation(SecurityError):
    """A message that is not allowed in this state, or inconsistent in itself."""


class SlotReused(SecurityError):
    """A slot, place or check that was used before was asked for again."""


class AuditBroken(SecurityError):
    """An audit log was changed, or contradicts the other party's."""


class WindowClosed(SecurityError):
    """The window was closed for good; nothing of it may be used any more."""


class StaleMessage(SecurityError):
    """A message of another session, window or batch."""


class ResourceError(TwokeyError):
    """The machine or the network cannot do it now."""

    exit_code = EXIT_RESOURCE


class Locked(ResourceError):
    """Another process holds the journal."""


class DiskFull(ResourceError):
    """No space left; what was complete before stays complete."""


class ClocksDiffer(ResourceError):
    """The peer's clock is too far from ours, or its message was long on the way."""


class MaterialExhausted(ResourceError):
    """No unused slot is left in this window for this camera."""


class QueueFull(ResourceError):
    """A camera's store of unacknowledged messages is at its limit; wait for the parties."""
