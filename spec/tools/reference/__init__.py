"""A second reading of the specification: small, slow, obvious, and sharing no line with the implementation."""
