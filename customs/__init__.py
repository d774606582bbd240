"""Everything said to and by customs."""
