"""AES-256-GCM of a file's chunks, each bound to the file's header, its stream and its number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from shared.errors import AuthenticationFailed
from shared.hashing import encode

Content = bytes | bytearray | memoryview | NDArray[np.uint8]

_U64_LENGTH = (8).to_bytes(4, "little")  # how `encode` begins an integer


class ChunkCipher:
    """The cipher of one file. A stream is a sequence of chunks of one kind.

    content_key: 32 bytes. label, header: what the associated data begin with, header a digest.
    streams: a name for messages of each.
    """

    def __init__(
        self, content_key: bytes, label: str, header: bytes, streams: Mapping[int, str]
    ) -> None:
        self._aead = AESGCM(content_key)
        self._streams = streams
        self._bindings = {stream: encode(label, header, stream) for stream in streams}

    def encrypt(self, stream: int, number: int, content: Content, out: memoryview) -> None:
        """Ciphertext and tag into `out`, TAG_BYTES longer than the content."""
        nonce, data = self._bound(stream, number)
        self._aead.encrypt_into(nonce, octets(content), data, out)

    def decrypt(
        self, stream: int, number: int, content: memoryview, out: memoryview, where: str
    ) -> None:
        """The plaintext into `out`, TAG_BYTES shorter. Raises AuthenticationFailed."""
        nonce, data = self._bound(stream, number)
        try:
            self._aead.decrypt_into(nonce, content, data, out)
        except InvalidTag:
            raise AuthenticationFailed(
                f"{where}: {self._streams[stream]} chunk {number} is not what the dealer wrote"
            ) from None

    def _bound(self, stream: int, number: int) -> tuple[bytes, bytes]:
        place = number.to_bytes(8, "little")
        nonce = stream.to_bytes(4, "little") + place
        return nonce, self._bindings[stream] + _U64_LENGTH + place


def octets(content: Content) -> memoryview:
    """A flat view of a contiguous buffer's bytes."""
    view = content.data if isinstance(content, np.ndarray) else memoryview(content)
    return view.cast("B")
