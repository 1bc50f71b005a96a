"""The real processes for an hour, or flat out: everything that changes in operation changes."""
