"""Window keys: a recipient's HPKE key pair for one window, destroyed when it ends (section 7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)

from shared import documents
from shared.atomicfile import (
    PRIVATE,
    PUBLIC,
    destroy_file,
    make_folder,
    read_private,
    read_small,
    write_atomic,
)
from shared.errors import AuthenticationFailed, FormatError, InputError, RangeError
from shared.hashing import digest
from shared.keys import ROLES, SIGNATURE_BYTES, Identity, PublicIdentity, Role, is_role
from shared.secret import Secret
from shared.sets import check_name

KEY_FOLDER = "window-keys"
PUBLIC_SUFFIX = ".window-key.json"
ENCAPSULATION_BYTES = 1120
TAG_BYTES = 16

_PUBLIC_BYTES = 1184 + 32
_MLKEM_PUBLIC = 1184
_PRIVATE_BYTES = 64 + 32
_MLKEM_PRIVATE = 64
_PUBLIC_KIND = "window key"
_PRIVATE_KIND = "private window key"
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_LATEST_MS = 253_402_300_799_999  # the last millisecond of the year 9999


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time with its own material. Times are Unix milliseconds; the end is excluded."""

    id: str
    start_ms: int
    end_ms: int

    def __post_init__(self) -> None:
        check_name("window", self.id)
        if not 0 <= self.start_ms < self.end_ms <= _LATEST_MS:
            raise RangeError(f"window {self.id}: its start must be before its end")

    def __str__(self) -> str:
        return f"{self.id} ({time_text(self.start_ms)} to {time_text(self.end_ms)})"


def parse_time(text: str) -> int:
    """Unix milliseconds of an RFC 3339 time with a zone. Raises InputError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InputError(f"time {text!r:.60}: expected the form 2026-11-20T00:00:00Z")
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def time_text(milliseconds: int) -> str:
    """RFC 3339 in UTC; milliseconds only where there are some."""
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    rest = milliseconds % 1000
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{rest:03d}Z" if rest else "Z")


def windows_ahead(first: Window, count: int) -> list[Window]:
    """This window and those that follow without a gap, all of one length.

    A lone window keeps its id; of several the k-th is called `<id>-<k>`, from 1.
    """
    if count < 1:
        raise RangeError(f"number of windows: found {count}, expected at least 1")
    if count == 1:
        return [first]
    length = first.end_ms - first.start_ms
    return [
        Window(f"{first.id}-{k + 1}", first.start_ms + k * length, first.end_ms + k * length)
        for k in range(count)
    ]


@dataclass(frozen=True, slots=True)
class WindowKey:
    """The public half as its owner signed it. key: ML-KEM-768 then X25519, 1216 bytes."""

    owner: PublicIdentity
    window: Window
    key: bytes

    def key_id(self) -> bytes:
        """32 bytes that name the key in a material file's header."""
        return digest("window key", self.key)

    def seal(self, plaintext: bytes, info: bytes) -> bytes:
        """HPKE encapsulation and ciphertext for the owner, `info` bound in."""
        try:
            public = hpke.MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(self.key[:_MLKEM_PUBLIC]),
                X25519PublicKey.from_public_bytes(self.key[_MLKEM_PUBLIC:]),
            )
            return _SUITE.encrypt(plaintext, public, info)
        except ValueError:
            raise FormatError(
                f"window key of {self.owner.role} {self.owner.name}: not a usable public key"
            ) from None


@dataclass(frozen=True, slots=True)
class PrivateWindowKey:
    """The private half: opens what was sealed for its owner in this window. Never prints it."""

    role: Role
    name: str
    window: Window
    key_id: bytes
    _content: Secret = field(repr=False)

    def open(self, sealed: bytes, info: bytes, what: str) -> Secret:
        """The plaintext. Raises AuthenticationFailed for another key, info or content."""
        content = self._content.reveal()
        private = hpke.MLKEM768X25519PrivateKey(
            MLKEM768PrivateKey.from_seed_bytes(content[:_MLKEM_PRIVATE]),
            X25519PrivateKey.from_private_bytes(content[_MLKEM_PRIVATE:]),
        )
        try:
            return Secret(_SUITE.decrypt(sealed, private, info))
        except (InvalidTag, ValueError):
            raise AuthenticationFailed(
                f"{what}: its key does not open with this window key"
            ) from None

    def destroy(self) -> None:
        """Overwrites the key in memory."""
        self._content.destroy()


def public_file_name(role: Role, name: str, window: str) -> str:
    """The name under which a published window key travels."""
    return f"{role}-{name}.{window}{PUBLIC_SUFFIX}"


def private_path(state: Path, window: str) -> Path:
    """Where a role's state folder keeps the private half."""
    return state / KEY_FOLDER / f"{check_name('window', window)}.key"


def publish_window_key(identity: Identity, state: Path, out: Path, window: Window) -> Path:
    """Makes the key pair of a window to come; returns the path of the signed public half.

    The private half goes to the state folder, never over one that is there. Where it is there
    already (a run that was cut short, a lost public file) its public half is written again.
    Raises ConfigError, InputError (the same window id with other times), DiskFull.
    """
    if identity.role == "dealer":
        raise InputError("a dealer receives no material and has no window keys")
    path = private_path(state, window.id)
    make_folder(path.parent, "window keys", mode=0o700)
    if path.exists():
        private, public_key = _read_private(path)
        _check_owner(identity, private, window, path)
    else:
        mlkem, x25519 = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
        public_key = _public_half(mlkem, x25519)
        content = mlkem.private_bytes_raw() + x25519.private_bytes_raw()
        document = documents.render(
            _PRIVATE_KIND,
            {**_values(identity.public, window), "secret": content.hex()},
        )
        write_atomic(path, document, "window key", mode=PRIVATE, replace=False)
    make_folder(out, "published window keys", mode=0o755)
    published = out / public_file_name(identity.role, identity.name, window.id)
    signature = identity.sign("window key file", *_signed(identity.public, window, public_key))
    values = {
        **_values(identity.public, window),
        "key": public_key.hex(),
        "signature": signature.hex(),
    }
    write_atomic(
        published,
        documents.render(_PUBLIC_KIND, values),
        "window key",
        mode=PUBLIC,
        replace=True,
    )
    return published


def load_window_key(path: Path, owner: PublicIdentity, window_id: str) -> WindowKey:
    """A published key, signed by this owner for this window.

    Raises ConfigError (missing), FormatError, AuthenticationFailed (another owner or window).
    """
    where = f"window key {path}"
    document = documents.Document(
        read_small(path, "window key"),
        _PUBLIC_KIND,
        ("role", "name", "identity", "window", "start_ms", "end_ms", "key", "signature"),
        where,
    )
    found = (document.text("role"), document.text("name"), document.octets("identity", 32))
    if found != (owner.role, owner.name, owner.digest()):
        raise AuthenticationFailed(
            f"{where}: found a key of {found[0]:.16} {found[1]:.64}, "
            f"expected one of the trusted {owner.role} {owner.name}"
        )
    window = _window(document)
    key = document.octets("key", _PUBLIC_BYTES)
    signature = document.octets("signature", SIGNATURE_BYTES)
    owner.verify(signature, where, "window key file", *_signed(owner, window, key))
    if window.id != window_id:
        raise AuthenticationFailed(f"{where}: found window {window.id}, expected {window_id}")
    _check_public(key, where)
    return WindowKey(owner, window, key)


def load_private_window_key(state: Path, window_id: str, role: Role, name: str) -> PrivateWindowKey:
    """The private half from the state folder.

    Raises ConfigError (missing or readable by others), FormatError, AuthenticationFailed.
    """
    path = private_path(state, window_id)
    key, _ = _read_private(path)
    if (key.role, key.name, key.window.id) != (role, name, window_id):
        raise AuthenticationFailed(
            f"window key {path}: found the key of {key.role} {key.name} for {key.window.id}, "
            f"expected {role} {name} for {window_id}"
        )
    return key


def destroy_window_key(state: Path, window_id: str) -> bool:
    """Overwrites and removes the private half; False when there is none."""
    return destroy_file(private_path(state, window_id), "window key")


def destroy_ended_window_keys(state: Path, wall_ms: int) -> list[str]:
    """Destroys the private halves of all windows that have ended by then; their ids.

    Also of windows that never got any material. Raises what `load_private_window_key` raises.
    """
    ended = []
    for path in sorted((state / KEY_FOLDER).glob("*.key")):
        key, _ = _read_private(path)
        key.destroy()
        if key.window.end_ms <= wall_ms:
            destroy_file(path, "window key")
            ended.append(key.window.id)
    return ended


def _read_private(path: Path) -> tuple[PrivateWindowKey, bytes]:
    where = f"window key {path}"
    document = documents.Document(
        read_private(path, "window key"),
        _PRIVATE_KIND,
        ("role", "name", "identity", "window", "start_ms", "end_ms", "secret"),
        where,
    )
    role = document.text("role")
    if not is_role(role):
        raise FormatError(f"{where}: role {role!r:.40}, expected {', '.join(ROLES)}")
    name = check_name(f"{where}: name", document.text("name"))
    document.octets("identity", 32)
    content = document.octets("secret", _PRIVATE_BYTES)
    public = _public_half(
        MLKEM768PrivateKey.from_seed_bytes(content[:_MLKEM_PRIVATE]),
        X25519PrivateKey.from_private_bytes(content[_MLKEM_PRIVATE:]),
    )
    key_id = digest("window key", public)
    return PrivateWindowKey(role, name, _window(document), key_id, Secret(content)), public


def _check_owner(identity: Identity, key: PrivateWindowKey, window: Window, path: Path) -> None:
    if (key.role, key.name) != (identity.role, identity.name):
        raise AuthenticationFailed(
            f"window key {path}: is of {key.role} {key.name}, "
            f"expected {identity.role} {identity.name}"
        )
    if key.window != window:
        raise InputError(
            f"window {window.id}: its key exists already for {key.window}, asked for now: {window}"
        )


def _public_half(mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> bytes:
    return mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()


def _check_public(key: bytes, where: str) -> None:
    try:
        MLKEM768PublicKey.from_public_bytes(key[:_MLKEM_PUBLIC])
    except (ValueError, UnsupportedAlgorithm):
        raise FormatError(f"{where}: key: not an ML-KEM-768 public key") from None


def _window(document: documents.Document) -> Window:
    try:
        return Window(
            document.text("window"), document.integer("start_ms"), document.integer("end_ms")
        )
    except InputError as error:
        raise FormatError(f"{document.where}: {error}") from None


def _values(owner: PublicIdentity, window: Window) -> dict[str, documents.Value]:
    return {
        "role": owner.role,
        "name": owner.name,
        "identity": owner.digest().hex(),
        "window": window.id,
        "start_ms": window.start_ms,
        "end_ms": window.end_ms,
    }


def _signed(owner: PublicIdentity, window: Window, key: bytes) -> tuple[bytes | str | int, ...]:
    return (owner.role, owner.digest(), window.id, window.start_ms, window.end_ms, key)
