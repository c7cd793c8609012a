"""The blob store: a small Walrus of one's own, for laptops, tests and closed networks."""
