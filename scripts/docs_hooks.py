"""MkDocs hooks: docstrings are plain text with a few reST roles; on a page those become plain code."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["on_page_content"]

_ROLE = re.compile(r":(?:class|meth|func|mod|attr|exc|data):(?=<code|`)")
_LITERAL = re.compile(r"<p>::</p>\s*")


def on_page_content(html: str, **_: Any) -> str:
    """Take the roles' names and the marks of literal blocks out of a finished page."""
    return _LITERAL.sub("", _ROLE.sub("", html))
