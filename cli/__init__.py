"""The command `blankforms`."""
