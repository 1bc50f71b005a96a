"""Two-party computation on authenticated shares: the SPDZ2k engine (docs/engine.md)."""

from party.engine.arrays import SharedArray, concatenate, stack
from party.engine.begin import begin
from party.engine.compare import argmin, less_than, select, top1
from party.engine.compare_dcf import equal, is_negative, is_zero, truncate
from party.engine.inputs import input_of_client, random_bits
from party.engine.multiply import dot, matmul, multiply, square
from party.engine.session import EngineSession

__all__ = [
    "EngineSession",
    "SharedArray",
    "argmin",
    "begin",
    "concatenate",
    "dot",
    "equal",
    "input_of_client",
    "is_negative",
    "is_zero",
    "less_than",
    "matmul",
    "multiply",
    "random_bits",
    "select",
    "square",
    "stack",
    "top1",
    "truncate",
]
