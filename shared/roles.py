"""A role's folder: identity, trusted identities, window keys; made once by `init`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.atomicfile import make_folder
from shared.keys import Identity, Role, create_identity, load_identity
from shared.trust import TrustedIdentities, identity_file_name

IDENTITY_FILE = "identity.key"
TRUSTED_FOLDER = "trusted"
PUBLISHED_FOLDER = "published"


@dataclass(frozen=True, slots=True)
class RoleFolder:
    """The places in a role's folder that all roles have.

    state: private files (0700). published: what is handed to others. trusted: their identities.
    """

    path: Path

    @property
    def state(self) -> Path:
        """Where private files are kept."""
        return self.path / "state"

    @property
    def published(self) -> Path:
        """Public identity and window keys, to be handed to the others."""
        return self.path / PUBLISHED_FOLDER

    def identity(self, role: Role | None = None) -> Identity:
        """The folder's own identity, of this role.

        Raises ConfigError, FormatError, AuthenticationFailed (another role).
        """
        return load_identity(self.state / IDENTITY_FILE, role)

    def trusted(self) -> TrustedIdentities:
        """Whom this role trusts."""
        return TrustedIdentities(self.path / TRUSTED_FOLDER)


def init_role(path: Path, role: Role, name: str) -> tuple[RoleFolder, Identity, Path]:
    """Makes the folder with a new identity; returns it and the path of the public file.

    Raises ConfigError when an identity is there already (it is left as it is), DiskFull.
    """
    identity = create_identity(role, name)
    folder = RoleFolder(path)
    make_folder(folder.state, "state folder", mode=0o700)
    folder.state.chmod(0o700)
    make_folder(folder.published, "folder", mode=0o755)
    make_folder(path / TRUSTED_FOLDER, "folder", mode=0o755)
    public = folder.published / identity_file_name(role, name)
    identity.save(folder.state / IDENTITY_FILE, public)
    return folder, identity, public
