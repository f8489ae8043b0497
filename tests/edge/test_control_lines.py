"""Lines of the operator's socket that no console would send."""

import pytest

from edge.control import ControlError, action_of


@pytest.mark.parametrize(
    "line",
    [
        b'{"do":"deny_list\xff\xff"}',
        b'{"do":"store_mode","mode":"\xff"}',
        b"[" * 5000,
        b"",
        b"\0" * 40,
        b'{"do":"owing","accounts":[1]}',
        b'{"do":"owing"}',
    ],
)
def test_a_line_that_is_no_request_is_refused_and_said(line: bytes) -> None:
    with pytest.raises(ControlError, match="not a request"):
        action_of(line, 1)
