"""What the comments beside fields and enum members say: for the handbook and the JSON Schema."""

from __future__ import annotations

import inspect
import io
import tokenize
from functools import cache


@cache
def comments(kind: type) -> dict[str, str]:
    """Field or member -> the comment on its line. Those without one are left out."""
    found: dict[str, str] = {}
    first = ""
    for token in tokenize.generate_tokens(io.StringIO(inspect.getsource(kind)).readline):
        if token.type == tokenize.NAME and not first:
            first = token.string
        elif token.type == tokenize.COMMENT and first:
            found[first] = token.string.lstrip("# ")
        elif token.type in (tokenize.NEWLINE, tokenize.NL):
            first = ""
    return found


def summary(kind: type) -> str:
    """The first line of a type's docstring."""
    return (inspect.getdoc(kind) or "").partition("\n")[0]
