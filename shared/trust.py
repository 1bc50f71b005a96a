"""The folder of identities that an operator has compared and trusts."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shared.atomicfile import PUBLIC, make_folder, read_small, write_atomic
from shared.errors import ConfigError
from shared.keys import PublicIdentity, Role, load_public_identity, parse_public_identity

SUFFIX = ".identity.json"
_ONE_OF_A_KIND: Final[frozenset[Role]] = frozenset({"dealer", "p0", "p1"})


def identity_file_name(role: Role, name: str) -> str:
    """The name under which a public identity travels and is kept."""
    return f"{role}-{name}{SUFFIX}"


class TrustedIdentities:
    """What is in the folder, read once and verified.

    There is at most one dealer, one p0 and one p1, and one camera and one authority of a name.
    Raises ConfigError, FormatError, AuthenticationFailed for a file that does not belong there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[tuple[Role, str], PublicIdentity] = {}
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            identity = load_public_identity(path)
            if path.name != identity_file_name(identity.role, identity.name):
                raise ConfigError(
                    f"public identity {path}: is of {identity.role} {identity.name}, "
                    f"expected in a file {identity_file_name(identity.role, identity.name)}"
                )
            self._check_place(identity)
            self._known[identity.role, identity.name] = identity

    def the(self, role: Role) -> PublicIdentity:
        """The only identity of this role. Raises ConfigError when none is trusted."""
        for identity in self._known.values():
            if identity.role == role:
                return identity
        raise ConfigError(f"no identity of role {role} is trusted in {self.folder}")

    def camera(self, name: str) -> PublicIdentity:
        """A camera's identity. Raises ConfigError when it is not trusted."""
        return self.named("camera", name)

    def named(self, role: Role, name: str) -> PublicIdentity:
        """The identity of this role and name. Raises ConfigError when it is not trusted."""
        found = self._known.get((role, name))
        if found is None:
            raise ConfigError(f"{role} {name} is not trusted in {self.folder}")
        return found

    def cameras(self) -> list[PublicIdentity]:
        """All trusted cameras, by name."""
        return [i for _, i in sorted(self._known.items()) if i.role == "camera"]

    def everybody(self) -> list[PublicIdentity]:
        """All trusted identities, by role and name."""
        return [identity for _, identity in sorted(self._known.items())]

    def add(self, identity: PublicIdentity, content: bytes) -> bool:
        """Keeps a public file; False when the very same identity is trusted already.

        Raises ConfigError when another one has its place: that one must be removed by hand.
        """
        if self._known.get((identity.role, identity.name)) == identity:
            return False
        self._check_place(identity)
        make_folder(self.folder, "trusted identities", mode=0o755)
        path = self.folder / identity_file_name(identity.role, identity.name)
        write_atomic(path, content, "public identity", mode=PUBLIC, replace=False)
        self._known[identity.role, identity.name] = identity
        return True

    def _check_place(self, identity: PublicIdentity) -> None:
        for known in self._known.values():
            same_name = known.name == identity.name
            if known.role == identity.role and (same_name or known.role in _ONE_OF_A_KIND):
                raise ConfigError(
                    f"another {known.role}, {known.name} ({known.fingerprint()}), is trusted in "
                    f"{self.folder}; remove its file first"
                )


def read_offered(path: Path) -> tuple[PublicIdentity, bytes]:
    """A public file that somebody handed over: the identity, and the bytes to keep."""
    content = read_small(path, "public identity")
    return parse_public_identity(content, f"public identity {path}"), content
