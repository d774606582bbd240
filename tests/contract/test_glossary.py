"""GLOSSARY.md names every table and every enumeration of the rules: one word, one meaning."""

from __future__ import annotations

import importlib
import pkgutil
import re
from enum import Enum

import models.rules
import models.tables
from models.tables.base import Base
from tests.conftest import ROOT

NAMED = set(re.findall(r"`([A-Za-z]+)`", (ROOT / "GLOSSARY.md").read_text()))


def modules(package):
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(found.name)


def test_every_table_is_named():
    for module in modules(models.tables):
        assert module
    tables = {mapper.class_.__name__ for mapper in Base.registry.mappers}
    assert tables - NAMED == set()


def test_every_enumeration_of_the_rules_is_named():
    found = {
        kind.__name__
        for module in modules(models.rules)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Enum) and kind.__module__ == module.__name__
    }
    assert found - NAMED == set()
