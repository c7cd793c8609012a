"""The panel: pages for people over what the other nodes say (``README.md``)."""
