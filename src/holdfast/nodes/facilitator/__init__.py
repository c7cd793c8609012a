"""The facilitator: verifies x402 payments and has them captured on an EVM chain."""
