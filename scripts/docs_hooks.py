"""MkDocs hooks: what the tests read in a page, and what docstrings hold, is not for the reader.

Docstrings have a few reST roles, which become plain code; fences of code that the tests must not run are marked
``skip="reason"``, a mark that the fences extension does not know.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["on_page_content", "on_page_markdown"]

_ROLE = re.compile(r":(?:class|meth|func|mod|attr|exc|data):(?=<code|`)")
_SKIP = re.compile(r'^(\s*`{3,}\w+) skip="[^"\n]*"[ \t]*$', re.M)
_LITERAL = re.compile(r"<p>::</p>\s*")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Take the tests' marks off the fences."""
    return _SKIP.sub(r"\1", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Take the roles' names and the marks of literal blocks out of a finished page."""
    return _LITERAL.sub("", _ROLE.sub("", html))
