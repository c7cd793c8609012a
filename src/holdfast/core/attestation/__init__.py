"""Attestation evidence as bytes: strict parsers, what a key is bound with, vendors' roots, reference values.

``spec/attestation.md``. Everything here is ``parse_`` and ``build_``: no signature is checked, nothing is believed.
``verifier.attestation`` verifies and appraises what these modules return.

One module a format: ``nitro``, ``snp``, ``dcap``, ``nvidia``; below them ``cbor``, ``der``, ``certificates``.
"""
