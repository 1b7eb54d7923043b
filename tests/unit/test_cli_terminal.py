"""The terminal chat, driven line by line, and its line editor, driven key by key."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rhea.cli.chat_terminal import COMMANDS, Terminal, line_reader
from rhea.cli.wrapping import WordWrap
from rhea.errors import StorageFull
from rhea.stores.sql import SqlStore
from rhea.testing import EchoModel, memory_database
from rhea.types import ChatMessage


def make(model: EchoModel | None = None, *, width: int = 100) -> Terminal:
    memory = memory_database(model=model or EchoModel())
    screen = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    progress = Console(file=io.StringIO(), width=width)
    return Terminal(memory, memory.conversation("main", user="ada"), console=screen, progress=progress)


def screen(terminal: Terminal) -> str:
    """What was shown since the last look."""
    file = terminal.console.file
    text = file.getvalue()
    file.seek(0)
    file.truncate()
    return text


def talk(terminal: Terminal, *lines: str | type[BaseException]) -> str:
    """Give these lines, then Ctrl-D; returns what was shown."""
    script = iter([*lines, EOFError])

    def read() -> str:
        line = next(script)
        if isinstance(line, str):
            return line
        raise line

    terminal.run(read)
    return screen(terminal)


def test_a_message_its_reply_and_what_it_took() -> None:
    shown = talk(make(), "hello there")
    assert "echo · ada / main · 0 turns · 0 rules" in shown
    assert "You said: hello there\n" in shown
    assert "of 4,096 tokens" in shown


def test_a_new_rule_is_told_once() -> None:
    shown = talk(make(), "From now on, answer in one sentence.", "hello")
    assert shown.count("+ rule: From now on, answer in one sentence.") == 1
    assert "1 rule" in shown


def test_blank_lines_and_cleared_lines_are_no_turns() -> None:
    terminal = make()
    talk(terminal, "", "   ", KeyboardInterrupt)
    assert terminal.chat.history() == []


def test_help_names_every_command() -> None:
    shown = talk(make(), "/help")
    assert all(name in shown for name in COMMANDS)


def test_every_command_is_there() -> None:
    terminal = make()
    talk(terminal, "hello")
    for name in COMMANDS:
        terminal.take(name)
        assert "no command" not in screen(terminal)


def test_an_unknown_command_is_not_sent() -> None:
    terminal = make()
    assert "/help lists them" in talk(terminal, "/wyh")
    assert terminal.chat.history() == []


def test_two_slashes_send_a_message_that_begins_with_one() -> None:
    terminal = make()
    talk(terminal, "//etc/hosts is a file")
    assert terminal.chat.history()[0].user == "/etc/hosts is a file"


def test_why() -> None:
    terminal = make()
    assert "no trace" in talk(terminal, "/why")
    shown = talk(terminal, "my dog is called Biscuit", "what is my dog called?", "/why", "/why 1", "/why 9", "/why x")
    assert "turn 1 raw" in shown
    assert "none before this one" in shown
    assert "no turn 9" in shown
    assert "not the number of a turn" in shown


def test_rules_and_history() -> None:
    terminal = make()
    shown = talk(
        terminal, "/rules", "/history", "From now on, answer in one sentence.", "/rules", *"abcdefghijkl", "/history 2"
    )
    assert "no rules yet" in shown
    assert "no turns yet" in shown
    assert "rule, turn 1" in shown
    tail = shown[shown.rindex("You said: l") - 200 :]
    assert "12  k" in tail
    assert "11  j" not in tail


def test_new_conversations() -> None:
    terminal = make()
    shown = talk(terminal, "hello", "/new", "/new", "/new my trip", "hi", "/new main")
    assert "ada / chat-2 · 0 turns" in shown
    assert "ada / chat-3 · 0 turns" in shown
    assert "ada / my trip" in shown
    assert "ada / main · 1 turn ·" in shown
    assert {c.name for c in terminal.memory.user("ada").conversations()} == {"main", "chat-2", "chat-3", "my trip"}


def test_quit() -> None:
    terminal = make()
    assert terminal.run(iter(["/quit", "never read"]).__next__) == 0
    assert terminal.chat.history() == []


def test_errors_are_told_and_the_chat_goes_on() -> None:
    terminal = make(EchoModel(reply="one two three", fail_after=1))
    shown = talk(terminal, "nul \0 here", "count", "count again")
    assert "NUL" in shown
    assert shown.count("told to fail") == 2
    assert [t.state for t in terminal.chat.history()] == ["interrupted", "interrupted"]
    assert "turn 2 was interrupted" in talk(terminal)


class Stopped(EchoModel):
    def __init__(self, number: int) -> None:
        super().__init__(reply="one two three")
        self.number = number

    def stream(self, messages: Sequence[ChatMessage]) -> Iterator[str]:
        pieces = super().stream(messages)
        yield next(pieces)
        os.kill(os.getpid(), self.number)
        yield from pieces


def test_ctrl_c_stops_a_reply_and_the_chat_goes_on() -> None:
    terminal = make(Stopped(signal.SIGINT))
    shown = talk(terminal, "count", "/history")
    assert "interrupted, kept" in shown
    assert "two" not in shown
    assert [(t.reply, t.state) for t in terminal.chat.history()] == [("one ", "interrupted")]


def test_ctrl_c_between_prompts_does_nothing() -> None:
    terminal = make()

    def read() -> str:
        if terminal.chat.history():
            raise EOFError
        os.kill(os.getpid(), signal.SIGINT)
        return "hello"

    before = signal.getsignal(signal.SIGINT)
    assert terminal.run(read) == 0
    assert signal.getsignal(signal.SIGINT) == before
    assert [t.reply for t in terminal.chat.history()] == ["You said: hello"]


def test_a_closed_terminal_ends_the_chat() -> None:
    terminal = make(Stopped(signal.SIGHUP))
    assert terminal.run(iter(["count", "never read"]).__next__) == 129
    assert [(t.user, t.reply) for t in terminal.chat.history()] == [("count", "one ")]


def test_a_reply_that_was_not_saved_is_saved_with_the_next_message(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = make()
    real = SqlStore.commit_turn

    def full(*_: Any, **__: Any) -> None:
        raise StorageFull("no space left")

    monkeypatch.setattr(SqlStore, "commit_turn", full)
    terminal.take("first")
    shown = screen(terminal)
    assert "You said: first" in shown
    assert "saved with your next message" in shown
    monkeypatch.setattr(SqlStore, "commit_turn", real)
    terminal.take("second")
    assert "the reply of turn 1 is saved now" in screen(terminal)
    assert [t.reply for t in terminal.chat.history()] == ["You said: first", "You said: second"]


def test_a_reply_cannot_steer_the_terminal() -> None:
    shown = talk(make(EchoModel(reply="clear \x1b[2J screen \x07")), "hello")
    assert "\x1b[2J" not in shown
    assert "clear ␛[2J screen ␇" in shown


def test_replies_are_broken_between_words() -> None:
    shown = talk(make(EchoModel(reply="the quick brown fox jumps"), width=12), "go")
    assert "the quick\nbrown fox\njumps\n" in shown


def wrapped(pieces: Sequence[str], width: int) -> str:
    wrap = WordWrap(lambda: width)
    return "".join(wrap.feed(p) for p in pieces) + wrap.rest()


def test_wrapping_does_not_depend_on_the_pieces() -> None:
    text = "Several words, 漢字漢字 wide ones,\n\n  - an indented item\n```\nx = 'a long line of code'\n```\nend."
    whole = wrapped([text], 16)
    assert wrapped([*text], 16) == whole
    assert wrapped([text[i : i + 5] for i in range(0, len(text), 5)], 16) == whole
    assert "x = 'a long line of code'" in whole
    assert "\n\n  - an" in whole
    assert wrapped([text], 1000) == text


@given(st.lists(st.text(st.sampled_from("ab漢` \n\t"), max_size=12), max_size=8), st.integers(1, 20))
def test_wrapping_loses_no_word(pieces: list[str], width: int) -> None:
    text = "".join(pieces)
    shown = wrapped(pieces, width)
    assert shown == wrapped([text], width)
    assert shown.split() == text.split()
    assert shown.count("\n") >= text.count("\n")


def test_a_word_longer_than_the_line_is_left_whole() -> None:
    assert wrapped(["see https://example.org/a/very/long/address now"], 10) == (
        "see\nhttps://example.org/a/very/long/address\nnow"
    )


def type_keys(terminal: Terminal, *keys: str, take: Callable[[str], object] = str) -> list[str]:
    """What the prompts return for these keys, one string a prompt; each line also goes to ``take``."""
    from threading import Timer

    from prompt_toolkit.application import create_app_session
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    lines = []
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        read = line_reader(terminal)
        for typed in keys:
            Timer(0.3, pipe.send_text, [typed]).start()  # a person types when the prompt is there
            try:
                lines.append(read())
                take(lines[-1])
            except KeyboardInterrupt:
                lines.append("^C")
            except EOFError:
                lines.append("^D")
    return lines


UP, CTRL_C, CTRL_D, ALT_ENTER = "\x1b[A", "\x03", "\x04", "\x1b\r"


def test_line_editing() -> None:
    assert type_keys(make(), "helo\x1b[Dl\r", f"half{CTRL_C}", "\r", CTRL_D) == ["hello", "^C", "", "^D"]
    assert type_keys(make(), f"one{ALT_ENTER}two\r") == ["one\ntwo"]


def test_arrow_up_brings_back_earlier_messages_of_the_conversation() -> None:
    terminal = make()
    talk(terminal, "the first", "the second")
    assert type_keys(terminal, f"{UP}\r", f"{UP}{UP}\r") == ["the second", "the first"]


def test_arrow_up_follows_into_another_conversation() -> None:
    terminal = make()
    talk(terminal, "here", "/new", "there", "/new main")
    assert type_keys(terminal, "/new chat-2\r", f"{UP}\r", take=terminal.take) == ["/new chat-2", "there"]


def completions(typed: str) -> list[str]:
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

    from rhea.cli.chat_terminal import command_completer

    return [c.text for c in command_completer().get_completions(Document(typed), CompleteEvent())]


def test_commands_are_completed_and_messages_are_not() -> None:
    assert completions("/") == list(COMMANDS)
    assert completions("/h") == ["/help", "/history"]
    assert completions("//h") == completions("h") == completions("") == []
