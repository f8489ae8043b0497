"""The operator's web page: three files without data; what it shows it asks of the API, by a key."""

from __future__ import annotations

from pathlib import Path

from fastapi import Request, Response
from starlette.routing import Route as Served

from broker import web

FOLDER = Path(__file__).parent / "operator_page"
FILES = {
    "/operator": ("operator.html", "text/html; charset=utf-8"),
    "/operator.css": ("operator.css", "text/css; charset=utf-8"),
    "/operator.js": ("operator.js", "text/javascript; charset=utf-8"),
}
# Nothing from elsewhere, nothing inline, in nobody's frame; the key leaves for this broker alone.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def served() -> list[Served]:
    """The routes of the page's files."""
    return [Served(path, _file(*found), methods=["GET"]) for path, found in FILES.items()]


def _file(name: str, media_type: str) -> web.Handler:
    content = (FOLDER / name).read_bytes()

    async def handle(request: Request) -> Response:
        return Response(content, media_type=media_type, headers=HEADERS)

    return handle
