"""A node that runs models itself and says what ran (``README.md``)."""
