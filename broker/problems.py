"""RFC 9457 problem documents: a type, a title, a status, and where it is wrong."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from messages.contract import PROBLEM_BASE, Problem

CONTENT_TYPE = "application/problem+json"


class ProblemError(Exception):
    """A request that gets a problem document. ``slug``: the last part of its type URI."""

    def __init__(
        self,
        status: int,
        slug: str,
        detail: str = "",
        *,
        param: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(slug)
        self.status, self.slug, self.headers = status, slug, dict(headers or {})
        self.body = problem_body(status, slug, detail, param)


def problem_body(status: int, slug: str, detail: str = "", param: str = "") -> bytes:
    """The document as bytes; its title is the slug in words."""
    title = slug.replace("-", " ").capitalize()
    document = Problem(
        type=f"{PROBLEM_BASE}{slug}", title=title, status=status, detail=detail, param=param
    )
    return msgspec.json.encode(document)
