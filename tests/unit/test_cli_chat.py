"""`rhea chat` with piped input: only replies on stdout, JSON a turn, and every kind of bad input."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

import rhea.cli.chat
from rhea.cli.app import run
from rhea.errors import StorageFull
from rhea.memory import Turn
from rhea.testing import EchoModel
from rhea.types import ChatMessage

ECHO = ("chat", "--model", "echo")


@pytest.fixture
def turns(rhea_cli: Callable[..., Any]) -> Callable[[], list[dict[str, Any]]]:
    """The stored turns, as `rhea history` prints them."""
    return lambda: rhea_cli("history", "--json").json["turns"]


def use_model(monkeypatch: pytest.MonkeyPatch, model: EchoModel) -> None:
    monkeypatch.setattr(rhea.cli.chat, "choose_model", lambda *_, **__: model)


def test_stdout_holds_only_the_replies(rhea_cli, turns) -> None:
    done = rhea_cli(*ECHO, stdin=b"hello\nsomething else")
    assert (done.code, done.out, done.err) == (0, "You said: hello\nYou said: something else\n", "")
    assert [(t["position"], t["user"], t["reply"], t["state"]) for t in turns()] == [
        (1, "hello", "You said: hello", "committed"),
        (2, "something else", "You said: something else", "committed"),
    ]


def test_json_prints_one_object_a_turn(rhea_cli) -> None:
    done = rhea_cli(*ECHO, "--json", stdin="From now on, answer in French.\nIs the café open? ☕\n".encode())
    first, second = done.objects
    assert set(first) == {"position", "user", "reply", "interrupted", "context", "seconds"}
    assert (first["position"], first["interrupted"], second["position"]) == (1, False, 2)
    assert second["user"] == "Is the café open? ☕"
    assert "☕" in done.out
    context = second["context"]
    assert context["instructions"] == ["From now on, answer in French."]
    assert context["tokens"] == sum(context["sections"].values()) <= context["budget"]
    assert {"position", "decision", "score"} <= set(context["episodes"][0])
    assert second["seconds"] > 0


def test_a_second_process_goes_on_where_the_first_ended(rhea_cli) -> None:
    rhea_cli(*ECHO, stdin=b"From now on, end every answer with amen.\nMy dog is called Biscuit.\n")
    (third,) = rhea_cli(*ECHO, "--json", stdin=b"What is my dog called?\n").objects
    assert third["position"] == 3
    assert third["context"]["instructions"] == ["From now on, end every answer with amen."]
    decisions = {e["position"]: e["decision"] for e in third["context"]["episodes"]}
    assert decisions[2] in ("raw", "compressed")


def test_users_and_conversations_are_apart(rhea_cli) -> None:
    rhea_cli(*ECHO, stdin=b"mine\n")
    rhea_cli(*ECHO, "--user", "bob", "--conversation", "trip", stdin=b"his\n")
    mine = rhea_cli("history", "--json").json
    his = rhea_cli("history", "--user", "bob", "--conversation", "trip", "--json").json
    assert (mine["user"], mine["conversation"], mine["turns"][0]["user"]) == ("ada", "main", "mine")
    assert (his["user"], his["conversation"], his["turns"][0]["user"]) == ("bob", "trip", "his")
    assert rhea_cli("history", "--conversation", "trip").code == 2


def test_no_input_is_no_turn(rhea_cli) -> None:
    assert rhea_cli(*ECHO).out == ""
    assert rhea_cli("history", "--json").json["turns"] == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"\n", "empty"),
        (b"  \t \n", "empty"),
        (b"nul \0 here\n", "NUL"),
        (b"latin-1: caf\xe9\n", "UTF-8"),
        (b"surrogate: \xed\xa0\x80\n", "UTF-8"),
        (b"x" * 65_537 + b"\n", "65,536"),
        (b"x" * 200_000, "65,536"),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_bad_line_ends_it_and_earlier_turns_stay(rhea_cli, turns, line: bytes, says: str, form: tuple[str]) -> None:
    done = rhea_cli(*ECHO, *form, stdin=b"fine\n" + line + b"never reached\n")
    assert done.code == 2
    assert says in done.err
    assert done.err.startswith("rhea: ")
    assert done.err.count("\n") == 1
    assert len(done.out.splitlines()) == 1
    assert [t["user"] for t in turns()] == ["fine"]


def test_the_longest_message_allowed(rhea_cli, turns) -> None:
    long = b"word " * 13_107 + b"."
    assert len(long) == 65_536
    done = rhea_cli(*ECHO, "--budget", "100000", stdin=long + b"\r\n")
    assert done.code == 2  # the echo model's window is smaller than that
    assert "budget" in done.err
    assert turns() == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--model", "/no/such/folder"), "/no/such/folder"),
        (("--base-url", "http://127.0.0.1:9"), "--model"),
        (("--tokenizer", "x"), "--base-url"),
        (("--recall", "everything"), "recall"),
        (("--budget", "3"), "budget"),
        (("--budget", "many"), "--budget"),
        (("--reserve", "0"), "--reserve"),
        (("--user", " "), "blank"),
        (("--conversation", ""), "blank"),
        (("--nonsense",), "--nonsense"),
        (("--database", "/no/such/folder/x.db"), "/no/such/folder/x.db"),
        (("--database", "mysql://host/db"), "mysql"),
        (("--database", "/etc/hostname"), "not a database"),
    ],
)
def test_bad_options_are_one_line(rhea_cli, options: tuple[str, ...], says: str) -> None:
    model = () if {"--model", "--base-url", "--tokenizer"} & {*options} else ("--model", "echo")
    done = rhea_cli("chat", *model, *options, stdin=b"hello\n")
    assert done.code == 2
    assert done.out == ""
    assert says in done.err
    assert done.err.count("\n") == 1


def test_a_folder_without_weights(rhea_cli, tmp_path) -> None:
    (tmp_path / "config.json").write_text("{}")
    done = rhea_cli("chat", "--model", str(tmp_path), stdin=b"hello\n")
    assert done.code == 2
    assert "no weights" in done.err


def test_a_budget_too_small_for_the_rules(rhea_cli, turns) -> None:
    rule = "From now on, always answer in " + ", ".join(f"tone number {n}" for n in range(30)) + "."
    rhea_cli(*ECHO, stdin=rule.encode() + b"\n")
    done = rhea_cli(*ECHO, "--budget", "60", stdin=b"hello\n")
    assert done.code == 2
    assert "instructions" in done.err
    assert len(turns()) == 1


def test_a_model_that_breaks_off_keeps_what_it_said(rhea_cli, turns, monkeypatch) -> None:
    use_model(monkeypatch, EchoModel(reply="one two three", fail_after=2))
    done = rhea_cli("chat", stdin=b"count\n")
    assert done.code == 2
    assert done.out == "one two "
    assert done.err.count("\n") == 1
    assert [(t["user"], t["reply"], t["state"]) for t in turns()] == [("count", "one two ", "interrupted")]


class Signalling(EchoModel):
    """Sends this process a signal after the first piece, as a person at the keyboard would."""

    def __init__(self, number: int, **options: Any) -> None:
        super().__init__(**options)
        self.number = number

    def stream(self, messages: Sequence[ChatMessage]) -> Iterator[str]:
        pieces = super().stream(messages)
        yield next(pieces)
        os.kill(os.getpid(), self.number)
        yield from pieces


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_signal_stops_the_reply_and_keeps_it(rhea_cli, turns, monkeypatch, number, code, form) -> None:
    use_model(monkeypatch, Signalling(number, reply="one two three"))
    before = signal.getsignal(number)
    done = rhea_cli("chat", *form, stdin=b"count\nnever reached\n")
    assert done.code == code
    if form:
        assert (done.json["reply"], done.json["interrupted"]) == ("one ", True)
    else:
        assert done.out == "one \n"
    assert [(t["reply"], t["state"]) for t in turns()] == [("one ", "interrupted")]
    assert signal.getsignal(number) == before


def test_a_signal_before_the_first_word_keeps_the_message(rhea_cli, turns, monkeypatch) -> None:
    class Early(EchoModel):
        def count_messages(self, messages: Sequence[ChatMessage]) -> int:  # while the context is built
            os.kill(os.getpid(), signal.SIGINT)
            return super().count_messages(messages)

    use_model(monkeypatch, Early())
    assert rhea_cli("chat", stdin=b"hello\n").code == 130
    assert [(t["user"], t["reply"], t["state"]) for t in turns()] == [("hello", None, "interrupted")]
    assert rhea_cli("why", "--json").json["turn"]["position"] == 1


def test_a_signal_while_the_reply_is_stored(rhea_cli, turns, monkeypatch) -> None:
    real = Turn.commit

    def interrupted_once(self: Turn, reply: str, *, interrupted: bool = False) -> None:
        monkeypatch.setattr(Turn, "commit", real)
        os.kill(os.getpid(), signal.SIGINT)
        real(self, reply, interrupted=interrupted)

    monkeypatch.setattr(Turn, "commit", interrupted_once)
    done = rhea_cli(*ECHO, "--json", stdin=b"hello\n")
    assert done.code == 130
    assert done.json["reply"] == "You said: hello"
    assert [(t["reply"], t["state"]) for t in turns()] == [("You said: hello", "committed")]


def test_a_reply_that_cannot_be_saved_is_handed_out(rhea_cli, turns, monkeypatch) -> None:
    from rhea.stores.sql import SqlStore

    def full(*_: Any, **__: Any) -> None:
        raise StorageFull("no space left")

    monkeypatch.setattr(SqlStore, "commit_turn", full)
    done = rhea_cli(*ECHO, "--json", stdin=b"hello\n")
    assert done.code == 2
    assert (done.json["reply"], done.json["saved"]) == ("You said: hello", False)
    assert "not saved" in done.err
    assert [(t["user"], t["reply"]) for t in turns()] == [("hello", None)]


def test_a_reader_that_goes_away_ends_it_quietly(rhea_cli, turns, monkeypatch, capfd) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    rhea_cli(*ECHO, stdin=b"first\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"second\nthird\n")))
    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(SystemExit) as left:
        run([*ECHO])
    monkeypatch.undo()
    assert left.value.code == 1
    assert capfd.readouterr().err == ""


def test_echo_is_documented_where_it_is_offered(rhea_cli) -> None:
    assert "echo" in rhea_cli("chat", "--help").out


def test_choosing_a_model() -> None:
    from rhea.cli.chat import choose_model

    served = choose_model("m", base_url="http://127.0.0.1:9/v1", reserve=99)
    assert (type(served).__name__, served.name, served.reserve) == ("OpenAIModel", "m", 99)
    local = choose_model(None, temperature=0.5)
    assert type(local).__name__ == "TransformersModel"
    assert local.sampling.temperature == 0.5
    assert choose_model(None).sampling is None


def test_json_lines_are_flushed_turn_by_turn(rhea_cli, monkeypatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr("rhea.cli.chat_piped.print_json", lambda value: flushed.append(value["position"]))
    rhea_cli(*ECHO, "--json", stdin=b"a\nb\n")
    assert flushed == [1, 2]


def test_in_a_terminal_the_prompt_comes_after_loading(rhea_cli, monkeypatch) -> None:
    class Loading(EchoModel):
        loaded = False

        def load(self) -> None:
            self.loaded = True

    model = Loading()
    use_model(monkeypatch, model)
    lines = iter(["hello", "/quit"])

    def line_reader(terminal: Any) -> Callable[[], str]:
        assert model.loaded
        return lines.__next__

    monkeypatch.setattr("rhea.cli.chat_terminal.line_reader", line_reader)
    monkeypatch.setattr("rhea.cli.chat.at_a_terminal", lambda: True)
    done = rhea_cli("chat")
    assert done.code == 0
    assert "echo · ada / main" in done.out
    assert "You said: hello\n" in done.out
    assert "loading echo" not in done.out


def test_json_is_never_interactive(rhea_cli, monkeypatch) -> None:
    monkeypatch.setattr("rhea.cli.chat.at_a_terminal", lambda: True)
    assert rhea_cli(*ECHO, "--json", stdin=b"hello\n").json["reply"] == "You said: hello"


def test_the_embedder_is_the_packaged_one() -> None:
    from rhea.cli.chat import default_embedder

    assert default_embedder().id == "all-MiniLM-L6-v2"


def test_a_process_without_a_login_name(monkeypatch) -> None:
    from rhea.cli.options import login_name

    def unknown() -> str:
        raise OSError("no entry")

    monkeypatch.setattr("getpass.getuser", unknown)
    assert login_name() == "default"


def test_the_entry_point(monkeypatch, capfd) -> None:
    from rhea.cli import main

    monkeypatch.setattr(sys, "argv", ["rhea", "--version"])
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    assert capfd.readouterr().out.startswith("rhea ")
    assert sys.stdin is not None
    sys.stdin.close()


def test_ctrl_c_leaves_a_server_that_does_not_answer(rhea_cli, turns) -> None:
    pytest.importorskip("openai")
    import socket
    import threading
    import time

    with socket.create_server(("127.0.0.1", 0)) as silent:
        asked = threading.Event()

        def listen() -> None:
            connection, _ = silent.accept()
            with connection:
                connection.recv(1 << 16)
                asked.set()
                time.sleep(0.2)
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(10)

        threading.Thread(target=listen, daemon=True).start()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        began = time.monotonic()
        done = rhea_cli("chat", "--model", "m", "--base-url", address, stdin=b"hello\n")
        assert asked.is_set()
        assert done.code == 130
        assert time.monotonic() - began < 9
    assert [(t["user"], t["reply"], t["state"]) for t in turns()] == [("hello", None, "interrupted")]


def test_a_server_that_is_away_is_one_line(rhea_cli, turns) -> None:
    pytest.importorskip("openai")
    done = rhea_cli("chat", "--model", "m", "--base-url", "http://127.0.0.1:9/v1", stdin=b"hello\n")
    assert done.code == 2
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert [(t["user"], t["state"]) for t in turns()] == [("hello", "interrupted")]
