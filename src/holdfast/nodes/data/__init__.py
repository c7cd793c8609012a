"""The data node: fetches facts from outside and signs what it saw (``spec/sources.md``, ``spec/admission.md``)."""
