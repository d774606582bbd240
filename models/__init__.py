"""The things and their rules."""
