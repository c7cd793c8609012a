"""Cases, queues and decisions: the panel's logic without its pages."""
