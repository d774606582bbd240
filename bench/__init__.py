"""The bench: what the product costs, beside the floor and the naive way."""

from __future__ import annotations

import logging

import structlog


def quiet() -> None:
    """What goes its ordinary way is not for a page of numbers. Called by processes of the bench, not by importing."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
