"""A customs to try everything with: the contract, its faults, and a ledger."""
