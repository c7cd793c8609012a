"""The relay: passes sealed requests on, and knows who asks without knowing what."""
