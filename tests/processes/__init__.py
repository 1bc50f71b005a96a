"""The real processes in a hostile world: killed, cut off, flooded, given what is broken."""
