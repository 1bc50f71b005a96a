"""Two-party computation on authenticated shares: the SPDZ2k engine (docs/engine.md)."""

from party.engine.arrays import SharedArray, concatenate, stack
from party.engine.link import connect, listen
from party.engine.session import EngineSession

__all__ = ["EngineSession", "SharedArray", "concatenate", "connect", "listen", "stack"]
