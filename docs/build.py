"""Draws the parts of the docs that come from tables: ``make docs``. A test keeps them current."""

from __future__ import annotations

from pathlib import Path

from broker import privacy
from broker.systems import diagrams
from cloud_sync import retailer_openapi, webhook_events
from cloud_sync.conformance.command import CASES
from cloud_sync.settlement import diagram_markdown
from edge.gate import TABLE
from messages.catalogue import CATALOGUE
from sim import scenario_tables

DOCS = Path(__file__).parent
BEGIN, END = "<!-- drawn from the code: make docs -->", "<!-- end of the drawn part -->"


def catalogue_table() -> str:
    """The message catalogue as a Markdown table."""
    rows = ["| message | kind | made by | rate of one source | kept | unknown after |"]
    rows.append("|---|---|---|---|---|---|")
    for entry in CATALOGUE:
        stale = f"{entry.stale_after_s:g} s of silence" if entry.stale_after_s else "-"
        rows.append(
            f"| `{entry.type.__name__}` | {entry.kind} | {entry.producer} | {entry.rate_hz:.3g} Hz "
            f"| {entry.retention_days:g} days | {stale} |"
        )
    return "\n".join(rows)


def gate_diagram() -> str:
    """The gate's state machine as a Mermaid diagram."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> idle"]
    for (state, signal), (after, actions) in TABLE.items():
        does = f" / {', '.join(actions)}" if actions else ""
        lines.append(f"    {state} --> {after}: {signal}{does}")
    return "\n".join([*lines, "```"])


def test_plan_table() -> str:
    """The cases of ``walkout retailer check``."""
    rows = ["| case | expected |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{case.id}` | {case.expects} |" for case in CASES)])


DRAWN = {
    "BROKER.md": diagrams.markdown,
    "privacy.md": privacy.page,
    "retailer-guide.md": test_plan_table,
    "webhook-events.md": webhook_events.page,
    "VOCABULARY.md": catalogue_table,
    "GATES.md": gate_diagram,
    "guides/settlement.md": diagram_markdown,
    "SCENARIOS.md": scenario_tables.markdown,
}


# Files that are drawn as a whole.
WHOLE = {
    "retailer-openapi.json": retailer_openapi.document_json,
    "webhook-schemas.json": webhook_events.schemas_json,
}


def with_drawn_part(text: str, drawn: str) -> str:
    """The page with its drawn part replaced. Raises ValueError where the markers are missing."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n{drawn}\n{END}{tail}"


def main() -> None:
    for name, draw in DRAWN.items():
        page = DOCS / name
        page.write_text(with_drawn_part(page.read_text(), draw()))
        print(f"docs/{name}")
    for name, draw in WHOLE.items():
        (DOCS / name).write_text(draw())
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
