"""HTTP out: one shared session, bounded times and sizes, no redirects, https unless on this host.

``send`` never raises for what the network does: every outcome is an ``Answer``. Secrets live in
``Endpoint.secret`` only; what other systems write back is searched for them before it is kept.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

import aiohttp

from cloud_sync.hooks import WEBHOOK
from cloud_sync.outbox import Request
from cloud_sync.outcomes import Answer
from cloud_sync.public_network import PublicResolver, blocked
from cloud_sync.webhooks import KEYS_MAX, SecretError, Signing, sign, signer
from messages.contract import HEADER_ATTEMPT, HEADER_GROUP, HEADER_SEQUENCE

REPLY_BYTES_MAX = 2**20  # a purchase of 1,000 lines is 200 kB
CONNECT_TIMEOUT_S = 5.0
KEY_LENGTH_MAX = 4096
SECRET_MASK = "[secret]"  # noqa: S105
HEADER_SAFE = ":-_.~@/"  # stays readable in a header; anything odd is percent-encoded

log = logging.getLogger("walkout.sync")


class EndpointError(ValueError):
    """An address or key file of the configuration that we do not use; never shows a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One second system. ``url``: what paths are appended to. ``socket``: a unix socket."""

    name: str
    url: str
    socket: str = ""
    key_file: str = ""
    secret: str = field(default="", repr=False)
    signing: Signing | None = field(default=None, repr=False)
    public: bool = False  # only addresses of the public internet (SSRF)


def endpoint(name: str, url: str, key_file: str) -> Endpoint:
    """An endpoint that is authorized by a bearer key from a file. Raises EndpointError."""
    base, socket = checked_url(name, url)
    secret = read_secret(name, key_file)
    return Endpoint(
        name=name, url=base.rstrip("/"), socket=socket, key_file=key_file, secret=secret
    )


def webhook_endpoint(
    url: str, secret_file: str, network: str = "public", name: str = WEBHOOK
) -> Endpoint:
    """A webhook receiver's address; private ones only where ``network`` is "private".

    Raises:
        EndpointError: the address is private, or no address, or the file cannot be read.
        webhooks.SecretError: its content is no secret.
    """
    base, socket = checked_url(name, url)
    public = network == "public"
    if public and (socket or blocked(urlsplit(base).hostname or "")):
        raise EndpointError(
            f"{name}: {_shown(url)} is a private address; if that is meant, set"
            ' webhook_network = "private" in [cloud], or network = "private" in its [[webhook]]'
        )
    text = read_secret(name, secret_file, lines_max=KEYS_MAX)
    return Endpoint(
        name=name,
        url=base,
        socket=socket,
        key_file=secret_file,
        secret=text,
        signing=signer(text),
        public=public,
    )


def checked_url(name: str, url: str) -> tuple[str, str]:
    """The base URL, and the socket's path for ``unix:/run/x.sock``.

    https is required except on this host's own loopback and sockets, where simulators live.
    """
    if url.startswith("unix:/"):
        return "http://localhost", url.removeprefix("unix:")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not parts.hostname:
        raise EndpointError(f"{name}: {_shown(url)} is no http(s) address")
    if not parts.hostname.isascii():  # full-width digits and dots would become others on the way
        raise EndpointError(f"{name}: {_shown(url)} has to be ASCII: write the host as xn--...")
    if parts.username or parts.password or parts.fragment:
        raise EndpointError(f"{name}: no user, password or fragment in an address; keys are files")
    if parts.scheme == "http" and not _loopback(parts.hostname):
        raise EndpointError(f"{name}: {_shown(url)} has to be https, it leaves this host")
    return url, ""


def read_secret(name: str, path: str, *, lines_max: int = 1) -> str:
    """The line of a key file, or its lines where several are allowed, apart by spaces.

    Raises EndpointError, which never shows its content.
    """
    if not path:
        raise EndpointError(f"{name}: no key file is configured")
    try:
        text = Path(path).read_text("ascii").strip()
        if Path(path).stat().st_mode & 0o077:
            log.warning("%s: key file %s can be read by others: chmod 600", name, path)
    except (OSError, UnicodeDecodeError) as error:
        raise EndpointError(
            f"{name}: key file {path} cannot be read: {type(error).__name__}"
        ) from None
    lines = text.splitlines() if lines_max > 1 else [text]
    good = all(line.isprintable() and " " not in line for line in lines)
    if not 0 < len(text) <= KEY_LENGTH_MAX or not good or len(lines) > lines_max:
        count = "one line" if lines_max == 1 else f"one to {lines_max} lines"
        raise EndpointError(f"{name}: key file {path} has to hold {count} of printable text")
    return " ".join(lines)


class Sender:
    """Sends requests of the queue. Use as ``async with``: it owns the shared session."""

    def __init__(
        self, endpoints: dict[str, Endpoint], timeout_s: float, wall_ns: Callable[[], int]
    ) -> None:
        self.endpoints = endpoints
        self._timeout = aiohttp.ClientTimeout(
            total=timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S)
        )
        self._wall_ns = wall_ns
        self._sessions: dict[str, aiohttp.ClientSession] = {}  # by socket; "" = TCP

    async def __aenter__(self) -> Sender:
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self._sessions.values():
            await session.close()

    def reload(self, name: str) -> None:
        """Read a key file again, which may have been mended; a bad one leaves the old key."""
        endpoint = self.endpoints[name]
        with contextlib.suppress(EndpointError, SecretError):
            if endpoint.signing is None:
                secret = read_secret(name, endpoint.key_file)
                self.endpoints[name] = replace(endpoint, secret=secret)
            else:
                secret = read_secret(name, endpoint.key_file, lines_max=KEYS_MAX)
                self.endpoints[name] = replace(endpoint, secret=secret, signing=signer(secret))

    async def send(self, request: Request) -> Answer:
        """One attempt, within the time-out; whatever the network does comes back as an answer."""
        endpoint = self.endpoints[request.destination]
        try:
            async with self._session(endpoint).post(
                endpoint.url + request.path,
                data=request.body,
                headers=headers(request, endpoint, self._wall_ns()),
                allow_redirects=False,
            ) as response:
                body = await _bounded(response)
                return Answer(
                    status=response.status,
                    body=_masked(body, endpoint.secret),
                    retry_after_s=retry_after_s(
                        response.headers.get("Retry-After", ""), self._wall_ns()
                    ),
                    error="" if len(body) <= REPLY_BYTES_MAX else "the reply is larger than 1 MiB",
                )
        except TimeoutError:
            return Answer(status=None, error="no answer within the time-out")
        except (aiohttp.ClientError, OSError) as error:
            text = f"{type(error).__name__}: {error}"[:300]
            return Answer(
                status=None,
                error=_masked(text.encode(), endpoint.secret).decode("utf-8", "replace"),
            )

    def _session(self, endpoint: Endpoint) -> aiohttp.ClientSession:
        name = f"public:{endpoint.name}" if endpoint.public else endpoint.socket
        session = self._sessions.get(name)
        if session is None:
            connector = (
                aiohttp.UnixConnector(endpoint.socket, limit=0)
                if endpoint.socket
                else aiohttp.TCPConnector(  # the destinations' windows are the bound
                    limit=0, resolver=PublicResolver() if endpoint.public else None
                )
            )
            session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                auto_decompress=False,  # we ask for identity; a bomb stays small
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
            self._sessions[name] = session
        return session


def headers(request: Request, endpoint: Endpoint, wall_ns: int) -> dict[str, str]:
    """Every header of one attempt."""
    ours = {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "walkout-sync/1",
        "Idempotency-Key": quote(request.idem, safe=HEADER_SAFE),
        HEADER_GROUP: quote(request.group, safe=HEADER_SAFE),
        HEADER_SEQUENCE: str(request.seq),
        HEADER_ATTEMPT: str(request.attempt),
    }
    if endpoint.signing is not None:
        return ours | sign(endpoint.signing, request.subject, wall_ns, request.body)
    return ours | {"Authorization": f"Bearer {endpoint.secret}"}


def retry_after_s(text: str, wall_ns: int) -> float | None:
    """Retry-After in seconds from now, from seconds or an HTTP date; None where there is none."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.fromtimestamp(wall_ns / 1e9, UTC)).total_seconds())


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body, or its first bytes where it is too large; the caller compares the length."""
    parts, size = list[bytes](), 0
    async for part in response.content.iter_chunked(64 * 1024):
        parts.append(part)
        size += len(part)
        if size > REPLY_BYTES_MAX:
            response.close()
            break
    return b"".join(parts)


def _masked(body: bytes, secret: str) -> bytes:
    for one in secret.split():
        body = body.replace(one.encode(), SECRET_MASK.encode())
    return body


def _shown(url: str) -> str:
    """An address without what may be secret in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "what is written there"
    return f"{parts.scheme}://{parts.hostname}"


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
