"""The memory node: encrypted, portable rows with a standing each (``README.md``)."""
