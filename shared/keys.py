"""Who somebody is: a signing key, a transport key, a role and a name (protocol section 7).

An identity's private file stays with its owner. The public file goes to the others, who compare
its fingerprint over another channel (a telephone) before they trust it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeGuard, get_args

import zmq
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from shared import documents
from shared.atomicfile import PRIVATE, PUBLIC, read_private, read_small, write_atomic
from shared.errors import AuthenticationFailed, FormatError
from shared.hashing import Field, digest, encode
from shared.secret import Secret
from shared.sets import check_name
from shared.transport import CurvePair

# An authority supplies watchlist entries that no party may see.
Role = Literal["dealer", "p0", "p1", "camera", "authority"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
SIGNATURE_BYTES = 64
FINGERPRINT_BYTES = 20

_PUBLIC_KIND = "public identity"
_PRIVATE_KIND = "private identity"
_PUBLIC_FIELDS = ("role", "name", "signing_key", "curve_key")
_Z85 = re.compile(rb"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


def is_role(text: str) -> TypeGuard[Role]:
    """Whether the text is the name of a role."""
    return text in ROLES


@dataclass(frozen=True, slots=True)
class PublicIdentity:
    """The public half. signing_key: Ed25519, 32 bytes. curve_key: Z85 text, 40 bytes."""

    role: Role
    name: str
    signing_key: bytes
    curve_key: bytes

    def digest(self) -> bytes:
        """32 bytes that name the identity with everything in it."""
        return digest("identity", self.role, self.name, self.signing_key, self.curve_key)

    def fingerprint(self) -> str:
        """160 bits of the digest as ten groups of four digits, to be read aloud."""
        digits = self.digest()[:FINGERPRINT_BYTES].hex()
        return " ".join(digits[i : i + 4] for i in range(0, len(digits), 4))

    def verify(self, signature: bytes, what: str, label: str, *fields: Field) -> None:
        """Checks a signature over `encode(label, *fields)`. Raises AuthenticationFailed."""
        try:
            key = Ed25519PublicKey.from_public_bytes(self.signing_key)
            key.verify(signature, encode(label, *fields))
        except (InvalidSignature, ValueError):
            raise AuthenticationFailed(f"{what}: not signed by {self.role} {self.name}") from None


@dataclass(frozen=True, slots=True)
class Identity:
    """Both halves; the private one never prints."""

    public: PublicIdentity
    _signing: Secret = field(repr=False)
    _curve: Secret = field(repr=False)

    @property
    def role(self) -> Role:
        """The owner's role."""
        return self.public.role

    @property
    def name(self) -> str:
        """The owner's name."""
        return self.public.name

    def sign(self, label: str, *fields: Field) -> bytes:
        """Ed25519 signature (64 bytes) over `encode(label, *fields)`."""
        key = Ed25519PrivateKey.from_private_bytes(self._signing.reveal())
        return key.sign(encode(label, *fields))

    def curve_pair(self) -> CurvePair:
        """The keys of the transport."""
        return CurvePair(self.public.curve_key, self._curve.reveal())

    def public_file(self) -> bytes:
        """Content of the public file, signed by the identity itself."""
        public = self.public
        return documents.render(
            _PUBLIC_KIND, {**_public_values(public), "signature": self._self_signature().hex()}
        )

    def private_file(self) -> bytes:
        """Content of the private file. Handle with care."""
        return documents.render(
            _PRIVATE_KIND,
            {
                **_public_values(self.public),
                "signing_secret": self._signing.reveal().hex(),
                "curve_secret": self._curve.reveal().decode(),
            },
        )

    def save(self, private: Path, public: Path) -> None:
        """Writes both files; never replaces a private one. Raises ConfigError, DiskFull."""
        write_atomic(private, self.private_file(), "identity", mode=PRIVATE, replace=False)
        write_atomic(public, self.public_file(), "identity", mode=PUBLIC, replace=True)

    def _self_signature(self) -> bytes:
        return self.sign("identity file", *_public_values(self.public).values())


def create_identity(role: Role, name: str) -> Identity:
    """A new identity with fresh keys. Raises InputError for an unfit name."""
    check_name("name", name)
    signing = Ed25519PrivateKey.generate()
    curve_public, curve_secret = zmq.curve_keypair()
    public = PublicIdentity(role, name, signing.public_key().public_bytes_raw(), curve_public)
    return Identity(public, Secret(signing.private_bytes_raw()), Secret(curve_secret))


def load_identity(path: Path, role: Role | None = None) -> Identity:
    """Reads a private file. Raises ConfigError (missing, too open), FormatError."""
    what = "identity"
    document = documents.Document(
        read_private(path, what),
        _PRIVATE_KIND,
        (*_PUBLIC_FIELDS, "signing_secret", "curve_secret"),
        f"{what} {path}",
    )
    public = _public(document)
    signing = Ed25519PrivateKey.from_private_bytes(document.octets("signing_secret", 32))
    curve_secret = _z85(document, "curve_secret")
    if (
        signing.public_key().public_bytes_raw() != public.signing_key
        or zmq.curve_public(curve_secret) != public.curve_key
    ):
        raise FormatError(f"{what} {path}: its private and public keys do not belong together")
    check_role(public, role, f"{what} {path}")
    return Identity(public, Secret(signing.private_bytes_raw()), Secret(curve_secret))


def parse_public_identity(content: bytes, where: str) -> PublicIdentity:
    """The identity in a public file. Raises FormatError, AuthenticationFailed."""
    document = documents.Document(content, _PUBLIC_KIND, (*_PUBLIC_FIELDS, "signature"), where)
    public = _public(document)
    signature = document.octets("signature", SIGNATURE_BYTES)
    public.verify(signature, where, "identity file", *_public_values(public).values())
    return public


def load_public_identity(path: Path, role: Role | None = None) -> PublicIdentity:
    """Reads a public file; that its owner is who he says must be checked by fingerprint."""
    where = f"public identity {path}"
    public = parse_public_identity(read_small(path, "public identity"), where)
    check_role(public, role, where)
    return public


def check_role(public: PublicIdentity, role: Role | None, where: str) -> None:
    """Raises AuthenticationFailed when the identity is of another role."""
    if role is not None and public.role != role:
        raise AuthenticationFailed(f"{where}: found role {public.role}, expected {role}")


def _public(document: documents.Document) -> PublicIdentity:
    role = document.text("role")
    if not is_role(role):
        raise FormatError(f"{document.where}: role {role!r:.40}, expected {', '.join(ROLES)}")
    name = check_name(f"{document.where}: name", document.text("name"))
    return PublicIdentity(
        role, name, document.octets("signing_key", 32), _z85(document, "curve_key")
    )


def _public_values(public: PublicIdentity) -> dict[str, str]:
    return {
        "role": public.role,
        "name": public.name,
        "signing_key": public.signing_key.hex(),
        "curve_key": public.curve_key.decode(),
    }


def _z85(document: documents.Document, name: str) -> bytes:
    value = document.text(name).encode()
    if not _Z85.fullmatch(value):
        raise FormatError(f"{document.where}: {name}: expected 40 characters of Z85")
    return value
