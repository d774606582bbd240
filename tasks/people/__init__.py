"""Persons and their keys, as persons change them."""
