"""Verify and appraise attestations (``spec/attestation.md``).

``verify`` turns parsed evidence into a :class:`~holdfast.verifier.attestation.claims.VerifiedAttestation`; ``appraise``
compares one with reference values, a key document and a nonce. Roots, time and collateral are arguments; nothing is
fetched, no clock is read. One module a format, and ``chain`` for the certificates that all of them end at.
"""
