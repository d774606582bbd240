"""The language of texts for people: Chinese first, English on request. Codes never depend on it.

Pure: standard library alone. The language is a context variable, so a worker that writes an
English result sheet does not change what another thread says.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class Language(StrEnum):
    """Languages that every text exists in."""

    ZH = "zh"
    EN = "en"


_current: ContextVar[Language] = ContextVar("language", default=Language.ZH)


def use_language(language: Language) -> None:
    """Say everything from here on, in this context, in `language`."""
    _current.set(language)


def current_language() -> Language:
    """The language that texts are rendered in now."""
    return _current.get()


@dataclass(frozen=True, slots=True)
class Text:
    """One text in both languages; `str()` gives the current one. May hold `{placeholders}`."""

    zh: str
    en: str

    def __str__(self) -> str:
        return self.en if _current.get() is Language.EN else self.zh

    def fill(self, **values: object) -> str:
        """The text with its placeholders filled; a nested `Text` comes in the same language."""
        return str(self).format(**values)


def t(zh: str, en: str) -> str:
    """The one of two texts that fits the current language, for texts that are used once."""
    return en if _current.get() is Language.EN else zh
