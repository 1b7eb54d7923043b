"""docs/cli.md says what the commands say: its generated part is current, its written part names what there is."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from rhea.cli.chat_terminal import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_cli_page", ROOT / "scripts" / "make_cli_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_that_of_the_commands(script) -> None:
    assert script.TARGET.read_text("utf-8") == script.page(), "run scripts/make_cli_page.py"


def test_a_new_option_would_be_noticed(script) -> None:
    from rhea.cli.app import app

    @app.command("only-in-this-test")
    def extra(twice: bool = False) -> None:
        """A command that the page does not have."""

    try:
        assert "only-in-this-test" in script.page()
        assert "`--twice" in script.page()
    finally:
        app.registered_commands.pop()


def test_the_commands_of_the_terminal_chat_are_told(script) -> None:
    written = script.TARGET.read_text("utf-8").partition(script.MARK)[0]
    assert all(f"`{name}" in written for name in COMMANDS)
