"""The distributed comparison function, one comparison at a time (encodings E4)."""

from __future__ import annotations

from dataclasses import dataclass

from tests.reference.blocks import M64, g, u64, u128


@dataclass(frozen=True)
class Words:
    """Correction words: seeds (16 bytes each), payloads (8 each), four of the leaf (8 each)."""

    seeds: list[int]
    payloads: list[int]
    leaf: list[int]

    def to_bytes(self) -> bytes:
        """The words of one comparison as a tile of width one."""
        return tile([self])


def clear(seed: int) -> int:
    """A seed without its two low bits."""
    return seed >> 2 << 2


def generate(
    m: int, key: bytes, roots: tuple[int, int], a: int, beta_lt: int, beta_ge: int
) -> Words:
    """Correction words for the payload beta_lt at x < a and beta_ge at x >= a, x of m bits."""
    s = [clear(roots[0]), clear(roots[1])]
    t = [0, 1]
    v = 0
    seeds, payloads = [], []
    for i in range(m - 2):
        bit = (a >> (m - 1 - i)) & 1
        children = [(g(key, s[j]), g(key, s[j] ^ 1)) for j in (0, 1)]
        values = [_halves(g(key, s[j] ^ 2)) for j in (0, 1)]
        keep, lose = bit, 1 - bit
        control = [
            (children[0][0] ^ children[1][0] ^ bit ^ 1) & 1,
            (children[0][1] ^ children[1][1] ^ bit) & 1,
        ]
        seed_correction = clear(children[0][lose] ^ children[1][lose])
        payload_correction = values[0][lose] ^ values[1][lose] ^ v
        payload_correction ^= beta_lt if bit == 1 else beta_ge
        v ^= values[0][keep] ^ values[1][keep] ^ payload_correction
        for j in (0, 1):
            child = children[j][keep]
            s[j] = clear(child ^ t[j] * seed_correction)
            t[j] = (child & 1) ^ t[j] * control[keep]
        seeds.append(seed_correction | control[0] | control[1] << 1)
        payloads.append(payload_correction)
    mine, theirs = _leaf(key, s[0]), _leaf(key, s[1])
    leaf = [mine[q] ^ theirs[q] ^ v ^ (beta_lt if q < a % 4 else beta_ge) for q in range(4)]
    return Words(seeds, payloads, leaf)


def evaluate(m: int, key: bytes, party: int, root: int, words: Words, x: int) -> int:
    """The party's share of the payload at x, 64 bits."""
    s, t, share = clear(root), party, 0
    for i in range(m - 2):
        side = (x >> (m - 1 - i)) & 1
        share ^= _halves(g(key, s ^ 2))[side] ^ t * words.payloads[i]
        child = g(key, s ^ side) ^ t * clear(words.seeds[i])
        s, t = clear(child), (child & 1) ^ t * ((words.seeds[i] >> side) & 1)
    return share ^ _leaf(key, s)[x % 4] ^ t * words.leaf[x % 4]


def tile(comparisons: list[Words]) -> bytes:
    """E5: up to 16 comparisons side by side, level by level."""
    content = b""
    for level in range(len(comparisons[0].seeds)):
        content += b"".join(u128(words.seeds[level]) for words in comparisons)
        content += b"".join(u64(words.payloads[level]) for words in comparisons)
    for words in comparisons:
        content += b"".join(u64(word) for word in words.leaf)
    return content


def _halves(value: int) -> tuple[int, int]:
    return value & M64, value >> 64


def _leaf(key: bytes, seed: int) -> list[int]:
    return [*_halves(g(key, seed ^ 2)), *_halves(g(key, seed ^ 3))]
