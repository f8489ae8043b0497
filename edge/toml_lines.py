"""On which line of a TOML text each value stands: ``tomllib`` does not say.

One pass over a text that ``tomllib`` has accepted, so nothing is checked here. A place is the path
of keys and list indices from the top: ``("party", 0, "do", 2, "act") -> 14``.
"""

from __future__ import annotations

import re
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")' r"|'''.*?'{3,5}(?!')" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")


def lines_of(text: str) -> dict[Path, int]:
    """Line, counted from 1, of every key and list element.

    A table that is opened twice (``[a.b]`` and ``[a.c]`` open ``a``) stands where it is first seen.
    """
    return _Scan(text).document()


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self.found: dict[Path, int] = {}
        self.rows: dict[Path, int] = {}  # lists of tables: how many so far

    def document(self) -> dict[Path, int]:
        here: Path = ()
        self._skip(_BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                here = self._header()
            else:
                self._pair(here)
            self._skip(_BLANK)
        return self.found

    def _header(self) -> Path:
        """``[a.b]`` or ``[[a.b]]``; a name of a list of tables means its last row."""
        line, many = self._line(), self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        keys = self._keys()
        self.at += 2 if many else 1
        path: Path = ()
        for i, key in enumerate(keys):
            path = (*path, key)
            self.found.setdefault(path, line)
            if many and i == len(keys) - 1:
                self.rows[path] = self.rows.get(path, 0) + 1
            if path in self.rows:
                path = (*path, self.rows[path] - 1)
                self.found.setdefault(path, line)
        return path

    def _pair(self, here: Path) -> None:
        line = self._line()
        for key in self._keys():
            here = (*here, key)
            self.found.setdefault(here, line)
        self.at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(here)

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            keys.append(self._key())
            self._skip(_SPACE)
            if self.text[self.at] != ".":
                return keys
            self.at += 1

    def _key(self) -> str:
        quoted = _STRING.match(self.text, self.at)
        found = quoted or _BARE_KEY.match(self.text, self.at)
        assert found is not None, "the text was accepted by tomllib"
        self.at = found.end()
        return found.group()[1:-1] if quoted else found.group()

    def _value(self, here: Path) -> None:
        match self.text[self.at]:
            case "[":
                self._list(here)
            case "{":
                self._table(here)
            case '"' | "'":
                self._skip(_STRING)
            case _:
                self._skip(_SCALAR)

    def _list(self, here: Path) -> None:
        self.at += 1
        index = 0
        while True:
            self._skip(_BLANK)
            if self.text[self.at] == "]":
                break
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self.found[*here, index] = self._line()
            self._value((*here, index))
            index += 1
        self.at += 1

    def _table(self, here: Path) -> None:
        self.at += 1
        while True:
            self._skip(_BLANK)
            if self.text[self.at] == "}":
                break
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self._pair(here)
        self.at += 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.at)
        assert found is not None, "the text was accepted by tomllib"
        self.at = found.end()

    def _line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1
