"""The pages say what the code does."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import requests
from running_broker import Broker

from broker.ledger import Reason

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "broker-api.md", ROOT / "docs" / "BROKER.md")  # basics, systems
GUIDE = ROOT / "docs" / "guides" / "broker.md"


def test_every_route_and_every_problem_is_on_the_page(broker: Broker) -> None:
    page = "".join(path.read_text() for path in PAGES if path.exists())
    paths = requests.get(f"{broker.url}/openapi.json", timeout=20).json()["paths"]
    routes = {f"{verb.upper()} {path}" for path, verbs in paths.items() for verb in verbs}
    assert len(routes) >= 15
    assert {route for route in routes if route not in page} == set()
    source = "".join(path.read_text() for path in (ROOT / "broker").rglob("*.py"))
    slugs = set(re.findall(r'(?:ProblemError\(\s*\d+,\s*|same, )"([a-z-]+)"', source))
    slugs |= {reason.value for reason in Reason} | {"not-found", "method-not-allowed"}
    assert len(slugs) >= 25
    assert {slug for slug in slugs if f"`{slug}`" not in page} == set()


def test_example_of_the_guide_runs(tmp_path: Path, start: Callable[[Path], Broker]) -> None:
    broker = start(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    example = example.replace("http://127.0.0.1:8701", broker.url)
    example = example.replace('Path("broker-data")', f"Path({str(broker.data)!r})")
    names: dict[str, object] = {}
    exec(example, names)
    assert broker.get("/v1/accounts/anna").json()["limit_minor"] == 20_000
