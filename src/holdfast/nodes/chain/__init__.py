"""The development chain: one Ethereum-like chain in one process, for laptops and tests."""
