"""From reserved serials to customs: prepare, sign, send, ask."""
