"""The built-in responder's engine: retrieval over a written corpus, arithmetic, units, dates. Not a language model.

Pure: no clock, network or randomness; the same conversation gives the same answer for as long as ``fingerprint`` is the
same. ``holdfast.adapters.upstream_builtin`` gives it the OpenAI shape.
"""
