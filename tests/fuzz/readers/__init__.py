"""The readers, by the part of the harness that they are of: each a function of some bytes and an empty folder."""
