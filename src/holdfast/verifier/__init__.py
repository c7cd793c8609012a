"""Pure verification: evidence, trust, policy and time in; checks, lanes and verdicts out."""
