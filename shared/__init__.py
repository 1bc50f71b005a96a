"""What all roles must agree on: arithmetic, formats, messages. Imports no role."""
