"""A session's material at one party: taken in order, each item once (docs/engine.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from party.engine.arrays import MacKey, SharedArray
from shared import engine_fss, engine_tags
from shared.engine_expand import alpha_share, delta_share, elements, own_values, tile_keys
from shared.engine_file import EngineFile
from shared.engine_fss import KEY_TILE
from shared.engine_plan import MAC, ROOT, Kind, Stream
from shared.errors import InputError, MaterialExhausted, SlotReused
from shared.intervals import Intervals

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Items:
    """Consecutive items of one kind, taken for good.

    values, macs: one (count, 2) array an element, or, for a wide kind, one (count, elements, 2).
    """

    kind: Kind
    first: int
    count: int
    values: Sequence[U64] = field(repr=False)
    macs: Sequence[U64] = field(repr=False)
    source: Material = field(repr=False)

    def element(self, number: int) -> SharedArray:
        """One element of each item, (count,); not for wide kinds."""
        return SharedArray(self.source.key, self.values[number], self.macs[number])

    def block(self, first: int, *shape: int) -> SharedArray:
        """Consecutive elements of each item of a wide kind: (count, *shape)."""
        stop = first + int(np.prod(shape, dtype=np.int64))
        return SharedArray(
            self.source.key,
            self.values[0][:, first:stop].reshape(self.count, *shape, 2),
            self.macs[0][:, first:stop].reshape(self.count, *shape, 2),
        )

    def evaluate(self, points: Sequence[U64]) -> tuple[SharedArray, ...]:
        """Each key of each item at a public point: (count,) of points (count,) uint64."""
        return self.source.evaluate(self, points)

    def tags(self, points: U64) -> U64:
        """This party's share of the tag of each item's bit at a public point: (count,) uint64.

        Once for each item: two openings of one bit would tell what it hides. Raises SlotReused.
        """
        return self.source.tags(self, points)


class Material:
    """An open engine file as a sequence of items for each kind; each is given out once."""

    def __init__(self, file: EngineFile, party: int) -> None:
        """party: 0 or 1. Raises InputError for another recipient's file."""
        if file.header.recipient != f"p{party}":
            raise InputError(
                f"engine file {file.path}: made for {file.header.recipient}, opened by p{party}"
            )
        self.file = file
        self.plan = file.header.plan
        self.party = party
        self.set_digest = file.header.set_digest()
        self.key = MacKey(party, alpha_share(file.key).copy(), delta_share(file.key, party))
        self._taken = {kind: Intervals() for kind, _ in self.plan.counts}
        self._tagged = {kind: Intervals() for kind, _ in self.plan.counts if kind.tags is not None}
        self._streams = {(s.kind, s.keys): s for s in file.header.streams()}
        self._chunks: dict[int, tuple[int, U8]] = {}

    def remaining(self, kind: Kind) -> int:
        """Items of this kind that are left."""
        taken = self._taken.get(kind)
        return 0 if taken is None else self.plan.count(kind) - taken.total

    def require(self, wanted: Mapping[Kind, int]) -> None:
        """Raises MaterialExhausted unless so many items of each kind are left."""
        for kind, count in wanted.items():
            if count > self.remaining(kind):
                raise MaterialExhausted(
                    f"engine material: found {self.remaining(kind)} items of {kind}, "
                    f"expected {count}"
                )

    def take(self, kind: Kind, count: int, at: int | None = None) -> Items:
        """The next items, or those from `at` on. Raises MaterialExhausted, SlotReused."""
        self.require({kind: count})
        taken = self._taken.get(kind, Intervals())
        first = taken.stop if at is None else at
        if first + count > self.plan.count(kind):
            raise MaterialExhausted(
                f"engine material: found {self.plan.count(kind)} items of {kind}, "
                f"expected {first + count}"
            )
        if not count:
            nothing = np.empty(kind.shape(0, kind.elements), dtype=np.uint64)
            own = [nothing] if kind.wide else [*nothing]
            return Items(kind, first, 0, own, own, self)
        if taken.intersects(first, count):
            raise SlotReused(f"engine material: items of {kind} from {first} on are used")
        taken.add(first, count)
        values, macs = self._elements(kind, first, count)
        return Items(kind, first, count, values, macs, self)

    def evaluate(self, items: Items, points: Sequence[U64]) -> tuple[SharedArray, ...]:
        """As `Items.evaluate`."""
        kind = items.kind
        out = [np.empty((2, items.count, 2), dtype=np.uint64) for _ in kind.keys]
        if not items.count:
            return tuple(SharedArray(self.key, value, mac) for value, mac in out)
        stream = self._streams[kind, True]
        roots, tiles = zip(*(self._roots(items, n) for n in range(len(kind.keys))), strict=True)
        for chunk, first, begin, end in _spans(stream, items.first, items.count):
            words = self._chunk(stream, chunk)
            at = _tile(stream, chunk, items.first)
            inside, size = stream.items(chunk), 0
            for number, shape in enumerate(kind.keys):
                engine_fss.evaluate(
                    shape,
                    self.party,
                    tiles[number][at : at + -(-inside // KEY_TILE)],
                    roots[number][begin:end],
                    words[size : size + inside * shape.key_bytes],
                    first,
                    points[number][begin:end],
                    out[number][0, begin:end],
                    out[number][1, begin:end],
                )
                size += inside * shape.key_bytes
        return tuple(SharedArray(self.key, value, mac) for value, mac in out)

    def tags(self, items: Items, points: U64) -> U64:
        """As `Items.tags`. Raises InputError for a kind without such keys, SlotReused."""
        shape = items.kind.tags
        if shape is None:
            raise InputError(f"engine material: {items.kind} has no tags")
        out = np.empty(items.count, dtype=np.uint64)
        if not items.count:
            return out
        tagged = self._tagged[items.kind]
        if tagged.intersects(items.first, items.count):
            raise SlotReused(
                f"engine material: tags of {items.kind} from {items.first} on are used"
            )
        tagged.add(items.first, items.count)
        stream = self._streams[items.kind, True]
        roots, tiles = self._roots(items, 0)
        for chunk, first, begin, end in _spans(stream, items.first, items.count):
            at = _tile(stream, chunk, items.first)
            engine_tags.evaluate(
                shape,
                self.party,
                tiles[at : at + -(-stream.items(chunk) // KEY_TILE)],
                roots[begin:end],
                self._chunk(stream, chunk),
                first,
                points[begin:end],
                out[begin:end],
            )
        return out

    def _roots(self, items: Items, number: int) -> tuple[U64, U64]:
        """Roots of the items' keys of this number, and the tile keys of all chunks they lie in."""
        kind, stream = items.kind, self._streams[items.kind, True]
        use = ROOT + number
        roots = elements(self.plan, self.file.key, kind, use, items.first, items.count, 1)[0]
        start = items.first - items.first % stream.step
        stop = min(-(-(items.first + items.count) // stream.step) * stream.step, stream.count)
        return roots, tile_keys(self.plan, kind, number, self.set_digest, start, stop - start)

    def close(self) -> None:
        """Destroys the keys; nothing more can be taken."""
        self._taken.clear()
        self._chunks.clear()
        self.key.destroy()
        self.file.close()

    def _elements(self, kind: Kind, first: int, count: int) -> tuple[Sequence[U64], Sequence[U64]]:
        key, uniform, derived = self.file.key, kind.uniform, kind.derived
        given = self._corrections(kind, first, count)
        if self.party == 0:
            values = [own_values(self.plan, key, kind, 0, first, count, kind.elements)]
            macs = [given[0], elements(self.plan, key, kind, MAC, first, count, derived, uniform)]
        else:
            values = [own_values(self.plan, key, kind, 1, first, count, uniform), given[0]]
            macs = [elements(self.plan, key, kind, MAC, first, count, uniform), given[1]]
        if kind.wide:
            return [np.concatenate(values, axis=1)], [np.concatenate(macs, axis=1)]
        return [one for part in values for one in part], [one for part in macs for one in part]

    def _corrections(self, kind: Kind, first: int, count: int) -> U64:
        """P0's MAC shares of uniform elements, or P1's shares and MAC shares of derived ones.

        (1, ...) or (2, ...), then as the kind's elements lie.
        """
        parts = 1 + self.party
        many = kind.derived if self.party else kind.uniform
        out = np.empty((parts, *kind.shape(count, many)), dtype=np.uint64)
        if not many:
            return out
        stream = self._streams[kind, False]
        for chunk, at, begin, end in _spans(stream, first, count):
            shape = (parts, *kind.shape(stream.items(chunk), many))
            found = self._chunk(stream, chunk).view(np.uint64).reshape(shape)
            if kind.wide:
                out[:, begin:end] = found[:, at : at + end - begin]
            else:
                out[:, :, begin:end] = found[:, :, at : at + end - begin]
        return out

    def _chunk(self, stream: Stream, number: int) -> U8:
        """A decrypted chunk; the last one of each stream is kept, in one buffer."""
        kept, content = self._chunks.get(stream.number, (-1, None))
        if kept != number or content is None:
            buffer = (
                np.empty(stream.step * stream.item_bytes, np.uint8)
                if content is None
                else (content)
            )
            self.file.read_chunk(stream, number, buffer)
            content = buffer
            self._chunks[stream.number] = (number, buffer)
        return content[: stream.items(number) * stream.item_bytes]


def _tile(stream: Stream, chunk: int, first: int) -> int:
    """The chunk's first tile, counted from the first chunk of items that begin with `first`."""
    return (chunk - first // stream.step) * stream.step // KEY_TILE


def _spans(stream: Stream, first: int, count: int) -> list[tuple[int, int, int, int]]:
    """Chunk, first item within it, and begin and end among the items asked for."""
    spans = []
    at = first
    while at < first + count:
        chunk, inside = divmod(at, stream.step)
        stop = min(first + count, (chunk + 1) * stream.step)
        spans.append((chunk, inside, at - first, stop - first))
        at = stop
    return spans
