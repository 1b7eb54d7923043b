"""The documentation runs: every Python block, every `rhea` command, every output that is shown.

A page may hold, invisible to its readers, ``<!-- setup`` … ``-->`` (Python that runs where it stands) and
``<!-- run console -->`` (from here on the `rhea` commands of console blocks are run, with what `export` set; those
above are only parsed).
Lines that begin with `rhea` or `make` in a fence without a language, or with `sh`, are parsed as well.
A block ```` ```output ```` is what the block before it prints; a line ``…`` stands for any lines, ``…`` inside
a line for any characters. ```` ```python skip="reason" ```` is only compiled.

Each page has a folder and a default database of its own, and finds `my_llm` and `my_async_llm`: a user's
function that answers a list of messages. The address 127.0.0.1:8000 becomes that of a stand-in for an
OpenAI-compatible server, which says "Lisbon.".
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
_FENCE = re.compile(
    r"^(?P<indent>[ ]*)(?P<mark>`{3,})(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=indent)(?P=mark)[ ]*$"
    r"|^<!-- setup\n(?P<setup>.*?)^-->$"
    r"|^<!-- (?P<flag>run console) -->$",
    re.M | re.S,
)
_OPTION = re.compile(r'(\w+)="([^"]*)"')
_REAL = re.compile(r"\b(?:Async)?Rhea\(|\bTransformersModel\(|\bSentenceTransformerEmbedder\(|run console")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block, set-up or mark of a page."""

    kind: str
    """The fence's language, ``setup``, or the mark's own text."""
    code: str
    line: int
    """Line of the page on which the code starts, 1-based."""
    options: dict[str, str] = field(default_factory=dict)


def pages() -> list[Path]:
    """README and every page of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def read_blocks(page: Path) -> list[Block]:
    """Blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    blocks = []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 2
        if match["flag"]:
            blocks.append(Block(match["flag"], "", line))
        elif match["setup"] is not None:
            blocks.append(Block("setup", match["setup"], line))
        else:
            language, _, rest = match["info"].strip().partition(" ")
            blocks.append(Block(language, textwrap.dedent(match["code"]), line, dict(_OPTION.findall(rest))))
    return blocks


def commands(console: str) -> list[list[str]]:
    """Command lines of a console block as words; a pipeline gives one entry a command.

    Lines that start with ``$ `` are commands (a backslash goes on in the next line), all others are output.
    Leading ``NAME=value`` words are left out, redirections too.
    """
    joined = re.sub(r"\\\n\s*", " ", console)
    found: list[list[str]] = []
    for line in joined.splitlines():
        if not line.startswith("$ "):
            continue
        lexer = shlex.shlex(line[2:], posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        current: list[str] = []
        redirected = False
        for word in lexer:
            if redirected:
                redirected = False
            elif word in {"|", "||", "&&", ";", "&"}:
                found.append(current)
                current = []
            elif set(word) <= set("<>&"):
                redirected = True
            elif current or not re.match(r"^\w+=", word):
                current.append(word)
        found.append(current)
    return [words for words in found if words]


def _shown(console: str) -> str:
    """What a console block shows as output: its lines that are no commands."""
    joined = re.sub(r"\\\n\s*", " ", console)
    return "".join(line + "\n" for line in joined.splitlines() if not line.startswith("$ "))


def matches(expected: str, printed: str) -> bool:
    """Whether what was printed is what the page shows."""
    parts = []
    for line in expected.strip("\n").splitlines():
        if line.strip() == "…":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(".*".join(re.escape(part) for part in line.rstrip().split("…")) + r"[ ]*\n")
    return re.fullmatch("".join(parts), printed.strip("\n") + "\n") is not None


def _id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _parameters() -> Iterator[Any]:
    for page in pages():
        marks = [pytest.mark.xdist_group("docs")]
        if _REAL.search(page.read_text(encoding="utf-8")):
            marks.append(pytest.mark.slow)
        yield pytest.param(page, id=_id(page), marks=marks)


def _application() -> Any:
    import typer

    from rhea.cli import COMMAND_MODULES
    from rhea.cli.app import app

    for name in COMMAND_MODULES:
        import_module(f"rhea.cli.{name}")
    return typer.main.get_command(app)


def check_command(words: list[str]) -> None:
    """Parse one `rhea` command line as the command itself would.

    Raises:
        AssertionError: there is no such command or option.
    """
    from typer.exceptions import TyperException

    command, arguments, path = _application(), words[1:], "rhea"
    while hasattr(command, "commands") and arguments and not arguments[0].startswith("-"):
        assert arguments[0] in command.commands, f"there is no command `{path} {arguments[0]}`"
        command, path, arguments = command.commands[arguments[0]], f"{path} {arguments[0]}", arguments[1:]
    if "--help" in arguments or arguments == ["--version"]:
        return
    assert not hasattr(command, "commands"), f"`{path}` needs a subcommand"
    try:
        command.make_context(path, list(arguments))
    except TyperException as error:
        if "does not exist" not in error.format_message():  # a file of the reader's
            raise AssertionError(f"`{shlex.join(words)}`: {error.format_message()}") from None


def _is_rhea(words: list[str]) -> bool:
    return words[0].rsplit("/", 1)[-1] == "rhea"


def _check_console(block: Block) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for words in commands(block.code):
        if _is_rhea(words):
            check_command(words)
        elif words[0] == "make":
            named = [w for w in words[1:] if not w.startswith("-") and "=" not in w]
            assert set(named) <= targets, f"the Makefile has no {set(named) - targets}"


def _run_console(block: Block, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the `rhea` commands of a block in this process; returns what they print."""
    from rhea.cli.app import run

    out = io.StringIO()
    for words in commands(block.code):
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            monkeypatch.setenv(name, value)
        if not _is_rhea(words):
            continue
        errors = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = run(words[1:])
        assert code == 0, f"`{shlex.join(words)}` ended with {code}: {errors.getvalue()}"
    return out.getvalue()


def _my_llm(messages: list[dict[str, str]]) -> str:
    """Stands for the reader's own model call."""
    assert messages, "a model is never called without messages"
    assert all(set(m) == {"role", "content"} for m in messages)
    return "Lisbon is lovely in May, and the trams are half the fun."


async def _my_async_llm(messages: list[dict[str, str]]) -> str:
    return _my_llm(messages)


class _Handler(BaseHTTPRequestHandler):
    """Streams "Lisbon." in three pieces to whoever posts."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for piece in ("Lis", "bon", "."):
            choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Host and port of the stand-in server."""
    running = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    thread.join()
    running.server_close()


def _run_python(block: Block, page: Path, namespace: dict[str, Any], server: str) -> str:
    code = compile("\n" * (block.line - 1) + block.code.replace("127.0.0.1:8000", server), str(page), "exec")
    if "skip" in block.options:
        return ""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, namespace)
    return out.getvalue()


def _close(namespace: dict[str, Any]) -> None:
    from rhea.memory import Rhea

    for value in list(namespace.values()):
        if isinstance(value, Rhea):
            value.close()


@pytest.mark.parametrize("page", _parameters())
def test_a_page_runs_as_written(page: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RHEA_DATABASE_URL", f"sqlite:///{tmp_path}/default.db")
    monkeypatch.setenv("COLUMNS", "100")
    namespace: dict[str, Any] = {
        "__name__": "__page__",
        "my_llm": _my_llm,
        "my_async_llm": _my_async_llm,
    }
    printed, running = "", False
    try:
        for block in read_blocks(page):
            where = f"{_id(page)}:{block.line}"
            if block.kind == "run console":
                _application()
                running = True
            elif block.kind in {"python", "setup", "py"}:
                printed = _run_python(block, page, namespace, server)
            elif block.kind in {"sh", ""}:
                _check_console(Block("console", re.sub(r"^(?=rhea |make )", "$ ", block.code, flags=re.M), block.line))
            elif block.kind == "console":
                _check_console(block)
                printed = _run_console(block, monkeypatch) if running else ""
                shown = _shown(block.code) if running else ""
                assert not shown or matches(shown, printed), f"{where} shows\n{shown}\nbut got\n{printed}"
            elif block.kind == "output":
                assert matches(block.code, printed), f"{where} shows\n{block.code}\nbut this was printed:\n{printed}"
    finally:
        _close(namespace)


def test_there_are_pages_with_examples() -> None:
    blocks = [block for page in pages() for block in read_blocks(page)]
    assert sum(b.kind == "python" for b in blocks) > 20
    assert any(commands(b.code) for b in blocks if b.kind == "console")


class TestTheReaderOfPages:
    """The helpers above, on pages with known faults."""

    def test_blocks_keep_their_order_language_and_line(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text(
            '# T\n\n<!-- setup\nx = 1\n-->\n\n```python skip="needs a server"\nx\n```\n\n'
            "- item\n\n    ```console\n    $ rhea --help\n    ```\n"
        )
        found = [(b.kind, b.code, b.line, b.options) for b in read_blocks(page)]
        assert found == [
            ("setup", "x = 1\n", 4, {}),
            ("python", "x\n", 8, {"skip": "needs a server"}),
            ("console", "$ rhea --help\n", 14, {}),
        ]

    def test_console_lines_become_words(self) -> None:
        console = "$ printf 'a b\\n' | X=1 rhea chat \\\n    --user ada > out  # note\noutput\n$ make test\n"
        assert commands(console) == [["printf", "a b\\n"], ["rhea", "chat", "--user", "ada"], ["make", "test"]]

    def test_output_is_compared_with_gaps(self) -> None:
        assert matches("a\n…\nz 1…9\n", "a\nb\nc\nz 1234569\n")
        assert not matches("a\n…\nz\n", "a\nb\n")

    @pytest.mark.parametrize("line", ["rhea nonsense", "rhea db nonsense", "rhea --nonsense", "rhea db"])
    def test_a_command_that_does_not_exist_fails(self, line: str) -> None:
        with pytest.raises(AssertionError):
            check_command(line.split())

    def test_commands_that_exist_pass(self) -> None:
        check_command(["rhea", "--version"])
        check_command(["rhea", "db", "--help"])
