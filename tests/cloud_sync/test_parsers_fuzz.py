"""Whatever bytes come, a parser gives its value or its named error, never anything else."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parsers import PARSERS, PIECES, WHOLE, command

from cloud_sync import outbox
from cloud_sync.outcomes import BadAnswer
from cloud_sync.payments.stripe_provider import PayersError, read_payers


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A body of the contract with some bytes cut, doubled, flipped or put in."""
    body = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(body)))
        match draw(st.integers(0, 3)):
            case 0:
                del body[at : at + draw(st.integers(1, 20))]
            case 1:
                body[at:at] = body[at : at + draw(st.integers(1, 20))]
            case 2 if at < len(body):
                body[at] = draw(st.integers(0, 255))
            case _:
                body[at:at] = draw(st.sampled_from(PIECES))
    return bytes(body)


BYTES = st.one_of(st.binary(max_size=200), damaged())


@pytest.mark.parametrize("name", PARSERS)
@given(body=BYTES)
@settings(max_examples=60, deadline=None)
def test_a_parser_gives_its_value_or_its_named_error(name: str, body: bytes) -> None:
    parse, named = PARSERS[name]
    with contextlib.suppress(named):
        parse(body)


def test_a_parser_with_a_hole_is_reported() -> None:
    """The planted bug: a field is taken from the tree before its type is known."""

    def hole(body: bytes) -> Any:
        try:
            return json.loads(body)["lines"][0]["total"]
        except (ValueError, KeyError):
            raise BadAnswer("no price") from None

    @given(body=BYTES)
    @settings(max_examples=400, deadline=None, database=None)
    def everything(body: bytes) -> None:
        with contextlib.suppress(BadAnswer):
            hole(body)

    with pytest.raises((TypeError, IndexError, ExceptionGroup)):
        everything()


@given(body=BYTES)
@settings(max_examples=60, deadline=None)
def test_a_file_of_payers_or_commands_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, body: bytes
) -> None:
    folder = tmp_path_factory.mktemp("files")
    file = Path(folder / "payers.json")
    file.write_bytes(body)
    with contextlib.suppress(PayersError):
        read_payers(file)
    with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
        command(body)  # these are what ``Desk._read`` sets aside


@given(st.binary(max_size=60), st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_joining_batches_never_takes_what_is_no_array(first: bytes, second: bytes) -> None:
    try:
        whole = outbox.joined(first, second)
    except (msgspec.MsgspecError, ValueError):
        return
    assert whole is not None
    assert isinstance(json.loads(whole), list)
