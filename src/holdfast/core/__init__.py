"""Pure building blocks: bytes in, values out. No I/O, clock, randomness, environment or logging."""
