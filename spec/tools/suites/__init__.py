"""One module a suite or a few; each offers ``write(writer)``."""
