"""What is wrong with the settings."""

from __future__ import annotations


class ConfigurationError(Exception):
    """Settings that cannot be used; the text names each one that is wrong."""
