"""Paper in somebody's keeping: what was issued, held, lost, counted, and the register."""
