"""How numbers are taken: sizes, builds, starts, memory and CPU, in random interleaved rounds."""
