"""What is done once before a peer waits: kernels are compiled and loaded, the heap is settled."""

from __future__ import annotations

import gc

import numpy as np

from party import bitkernels
from shared import dcf, prg, ring, shares
from shared.heap import keep_freed_memory
from shared.matchinputs import dcf_key, match_inputs, match_inputs_each
from shared.params import Parameters
from shared.secret import Secret

_YOUNG = 10_000  # objects made before the young ones are looked through
_PARAMS = Parameters(
    dim=1,
    fraction_bits=1,
    headroom_bits=5,
    places=1,
    threshold=1,
    face_bound=1,
    entry_bound=1,
    model="warm-up",
)


def warm_up() -> None:
    """Calls every kernel of prepare and match; with a cold cache this takes some seconds."""
    params, key = _PARAMS, Secret(bytes(32))
    slots = np.zeros(1, dtype=np.uint64)
    matrix = ring.PublicMatrix(np.ones((1, params.coordinates), dtype=np.int32))
    inputs = shares.input_shares(key, shares.RatchetTable(bytes(32)), slots, params.coordinates)
    kappa = ring.add(ring.public_matrix_product(matrix, inputs), shares.rho_shares(key, slots, 1))
    chi = prg.coefficients(bytes(32), 1)
    ring.inner_mac_check(chi, kappa[0], shares.alphas(key, slots), kappa[0])
    masked = np.zeros((1, params.coordinates), dtype=np.uint32)
    z = ring.public_product_mod32(matrix, masked)
    words = np.zeros((1, params.slot_match_bytes), dtype=np.uint8)
    found = match_inputs(key, 0, dcf_key(bytes(32)), 0, 1, 1)
    match_inputs_each([key], 0, [bytes(32)], slots, 1)
    tags = np.zeros((1, 1), dtype=np.uint64)
    dcf.evaluate(params, 0, found.slot_keys, found.roots, words, z, tags)
    rows = dcf.row_addresses(words)
    dcf.evaluate(params, 0, found.slot_keys, found.roots, rows, z, tags)
    packed = np.zeros((1, 1), dtype=np.uint8)
    bitkernels.pack_bits(tags, packed)
    bitkernels.unmask(tags, packed, found.deltas, tags.copy())


def settle_heap() -> None:
    """What was loaded so far is never looked through for garbage again; freed memory is kept.

    Else each full collection walks some 140,000 objects of the compiler's and libraries', and
    faces wait for it. What comes later is collected as before, if less often. A check's arrays, of
    half a megabyte each, would be fetched from the system page by page.
    """
    keep_freed_memory()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
