"""Webhook addresses: which reach into a private network, however they are written."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from second_systems import SECRET

from cloud_sync.http_sender import EndpointError, webhook_endpoint
from cloud_sync.public_network import PrivateAddress, PublicResolver, blocked

PRIVATE = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "017700000001",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "localhost",
    "a.localhost",
    "LOCALHOST.",
    "printer.local",
    "metadata.google.internal",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00::1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b:1::7f00:1",
    "2001:0:7f00:1::",
    "::ffff:169.254.169.254",
    "0",
    "127.0.0.1.",
]


@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_address_is_blocked(host: str, tmp_path: Path) -> None:
    assert blocked(host)
    (tmp_path / "key").write_text(SECRET)
    url = f"https://[{host}]/hook" if ":" in host else f"https://{host}/hook"
    with pytest.raises(EndpointError, match="webhook_network"):
        webhook_endpoint(url, str(tmp_path / "key"))


@pytest.mark.parametrize(
    "url",
    [
        *(
            "https://127\u30020\u30020\u30021/",
            "https://127\uff0e0.0.1/",
            "https://\u24dbocalhost/",
        ),
        *("https://\uff11\uff12\uff17.0.0.1/", "https://a\uff0fb.example/", "https://[::1/"),
        *(
            "https://[",
            "https://a.example:99999/",
            "https://a.example:x/",
            "https:///x",
            "https://",
        ),
        *("//a.example/", "ftp://a.example/", "https://u:p@a.example/", "http://a.example/", ""),
    ],
)
def test_what_would_become_another_host_on_the_way_is_no_address(url: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    with pytest.raises(EndpointError):
        webhook_endpoint(url, str(tmp_path / "key"))


@pytest.mark.parametrize("host", ["8.8.8.8", "retailer.example", "2606:4700::1", "1.example"])
def test_a_public_one_is_not(host: str) -> None:
    assert not blocked(host)


def test_private_addresses_can_be_allowed(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    for url in ("http://127.0.0.1:8080/hook", "unix:/run/hook.sock", "https://10.0.0.7/hook"):
        webhook_endpoint(url, str(tmp_path / "key"), "private")
    with pytest.raises(EndpointError, match="private address"):
        webhook_endpoint("unix:/run/hook.sock", str(tmp_path / "key"))


class Answers(AbstractResolver):
    """A name server that says what it was told to, in turn."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=h, port=port, family=family, proto=0, flags=0)
            for h in self.answers.pop(0)
        ]

    async def close(self) -> None:
        """It holds nothing."""


def test_a_name_that_leads_inside_is_refused_each_time_it_is_looked_up() -> None:
    names = Answers(["93.184.216.34"], ["127.0.0.1"], ["93.184.216.34", "10.0.0.1"])
    resolver = PublicResolver(names)

    async def story() -> None:
        found = await resolver.resolve("rebind.example", 443)
        assert [one["host"] for one in found] == ["93.184.216.34"]
        for _ in range(2):
            with pytest.raises(PrivateAddress, match="rebind"):
                await resolver.resolve("rebind.example", 443)

    asyncio.run(story())
