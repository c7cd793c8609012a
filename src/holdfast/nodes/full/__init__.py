"""The full node: follows logs, checks every statement, cosigns checkpoints, votes rounds, speaks once per round."""
