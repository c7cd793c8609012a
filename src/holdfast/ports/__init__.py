"""What the system needs from the world: one Protocol a file, no implementation."""
