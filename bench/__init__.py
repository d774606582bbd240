"""The bench: what the product costs, beside the floor and the naive way."""

from __future__ import annotations

import logging

import structlog

# what goes its ordinary way is not for a page of numbers
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
