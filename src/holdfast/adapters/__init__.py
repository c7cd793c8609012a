"""The outside world, one technology a file: `<port>_<technology>.py`."""
