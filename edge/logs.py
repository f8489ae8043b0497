"""Log lines for people and for journald: ``level=info at=edge.daemon event key=value ...``.

Written to stderr by the standard library. Tokens never appear: whatever looks like one is cut out
here, since an exception's text may carry what a reader read.
"""

from __future__ import annotations

import logging
import re

TOKEN = re.compile(r"v\d\.(public|local)\.[A-Za-z0-9_\-.=]+")
SECRET = re.compile(r"(?i)(bearer\s+|whsec_|sk_)[A-Za-z0-9_\-.=+/]+")


def scrubbed(text: str) -> str:
    """The text with tokens and keys cut out."""
    return SECRET.sub(r"\1***", TOKEN.sub(r"v4.\1.***", text))


class KeyValue(logging.Formatter):
    """One line a record; journald adds the time."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"level={record.levelname.lower()} at={record.name} {record.getMessage()}"
        if record.exc_info and record.exc_info[0]:
            trace = self.formatException(record.exc_info).replace("\n", "\\n")
            line += f' trace="{trace}"'
        return scrubbed(line)


def to_stderr(level: int = logging.INFO) -> None:
    """Send every logger's records to stderr in this form."""
    handler = logging.StreamHandler()
    handler.setFormatter(KeyValue())
    logging.basicConfig(level=level, handlers=[handler], force=True)
