"""`rhea chat` as people and scripts run it: real processes, the packaged model, signals, a terminal."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("model")]

RHEA = [sys.executable, "-m", "rhea.cli"]
STORY = b"Tell me a long story about a lighthouse keeper.\n"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    chosen = {
        "RHEA_DATABASE_URL": f"sqlite:///{tmp_path / 'rhea.db'}",
        "LOGNAME": "ada",
        "TERM": "xterm",
        "PROMPT_TOOLKIT_NO_CPR": "1",
    }
    return os.environ | chosen | {"HF_HUB_OFFLINE": "1"}


@pytest.fixture
def rhea(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    def command(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*RHEA, *arguments], input=stdin, capture_output=True, env=environment, timeout=240)

    return command


def stored(rhea: Callable[..., Any]) -> list[dict[str, Any]]:
    done = rhea("history", "--json")
    assert done.returncode == 0, done.stderr
    turns: list[dict[str, Any]] = json.loads(done.stdout)["turns"]
    return turns


def streaming(environment: dict[str, str], message: bytes) -> tuple[subprocess.Popen[bytes], bytes]:
    """A chat that has begun to answer, and the first of its answer."""
    process = subprocess.Popen(
        [*RHEA, "chat", "--reserve", "400"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(message)
    process.stdin.flush()
    begun = b""
    deadline = time.monotonic() + 180
    while len(begun) < 12:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        begun += os.read(process.stdout.fileno(), 64)
    return process, begun


def test_two_messages_two_replies_and_a_second_process_that_remembers(rhea) -> None:
    first = rhea(
        "chat",
        "--reserve",
        "24",
        stdin=b"From now on, end every answer with the word amen.\nMy dog is called Biscuit. What should I feed him?\n",
    )
    assert (first.returncode, first.stderr) == (0, b"")
    replies = [turn["reply"] for turn in stored(rhea)]
    assert len(replies) == 2
    assert all(reply.strip() for reply in replies)
    assert first.stdout.decode() == "".join(f"{reply}\n" for reply in replies)

    second = rhea("chat", "--json", "--reserve", "12", stdin=b"What is my dog called?\n")
    assert (second.returncode, second.stderr) == (0, b"")
    turn = json.loads(second.stdout)
    assert turn["position"] == 3
    assert any("amen" in text for text in turn["context"]["instructions"])
    decisions = {e["position"]: e["decision"] for e in turn["context"]["episodes"]}
    assert decisions[2] in ("raw", "compressed")
    assert turn["context"]["tokens"] <= turn["context"]["budget"]


def test_kill_9_while_a_reply_streams(rhea, environment) -> None:
    process, _ = streaming(environment, STORY)
    assert [(t["user"], t["state"]) for t in stored(rhea)] == [(STORY.decode().strip(), "pending")]
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL

    (cut,) = stored(rhea)
    assert (cut["user"], cut["reply"], cut["state"]) == (STORY.decode().strip(), None, "interrupted")
    after = rhea("chat", "--json", "--reserve", "12", stdin=b"Go on.\n")
    assert after.returncode == 0, after.stderr
    assert json.loads(after.stdout)["position"] == 2
    assert [t["state"] for t in stored(rhea)] == ["interrupted", "committed"]


def test_ctrl_c_keeps_what_was_said(rhea, environment) -> None:
    process, begun = streaming(environment, STORY + b"This line is never answered.\n")
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b"")
    (cut,) = stored(rhea)
    assert cut["state"] == "interrupted"
    assert (begun + rest).decode() == f"{cut['reply']}\n"


def test_a_reader_that_goes_away(rhea, environment) -> None:
    process, begun = streaming(environment, STORY)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert process.stderr is not None
    assert process.stderr.read() == b""
    (cut,) = stored(rhea)
    assert cut["state"] == "interrupted"
    assert cut["reply"].encode().startswith(begun)


def test_bad_input_is_one_line_and_earlier_turns_stay(rhea) -> None:
    done = rhea("chat", "--model", "echo", stdin=b"hello\n\nnever\n")
    assert (done.returncode, done.stdout) == (2, b"You said: hello\n")
    assert re.fullmatch(rb"rhea: [^\n]+\n", done.stderr)
    assert [t["user"] for t in stored(rhea)] == ["hello"]
    unknown = rhea("chat", "--model", "no-such/model", stdin=b"hello\n")
    assert (unknown.returncode, unknown.stdout) == (2, b"")
    assert re.fullmatch(rb"rhea: [^\n]+\n", unknown.stderr)
    assert b"no-such/model" in unknown.stderr


class Screen:
    """A program in a terminal of its own, and everything that it has shown."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self.shown = ""
        self.process, self._terminal = pty.fork()
        if self.process == 0:
            os.execvpe(arguments[0], arguments, environment)

    def keys(self, keys: bytes) -> None:
        os.write(self._terminal, keys)

    def wait_for(self, text: str, seconds: float) -> float:
        """Seconds until the text was shown; what stands before it is forgotten."""
        began = time.monotonic()
        while text not in self.shown:
            assert time.monotonic() < began + seconds, f"no {text!r} in {self.shown[-2000:]!r}"
            self._read(0.2)
        self.shown = self.shown.partition(text)[2]
        return time.monotonic() - began

    def exit_code(self, seconds: float) -> int:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._read(0.2)
            found, status = os.waitpid(self.process, os.WNOHANG)
            if found:
                os.close(self._terminal)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.process, signal.SIGKILL)
        pytest.fail(f"still running: {self.shown[-2000:]!r}")

    def _read(self, seconds: float) -> None:
        if select.select([self._terminal], [], [], seconds)[0]:
            try:
                self.shown += os.read(self._terminal, 4096).decode("utf-8", "replace")
            except OSError as error:  # Linux says EIO when the other side has ended
                if error.errno != errno.EIO:
                    raise


def test_a_person_at_a_terminal(rhea, environment) -> None:
    screen = Screen([*RHEA, "chat", "--reserve", "300"], environment)
    screen.wait_for("loading", 60)
    ready = screen.wait_for("› ", 120)
    print(f"ready for the first message after {ready:.1f} s of loading")
    screen.keys(STORY.replace(b"\n", b"\r"))
    screen.wait_for("thinking", 60)
    deadline = time.monotonic() + 120
    while not re.search(r"\x1b\[\?25h(?:\x1b\[[0-9;?]*[A-Za-z]|\r|\s)*[A-Z]\w+ ", screen.shown):  # words of the reply
        assert time.monotonic() < deadline, screen.shown[-2000:]
        screen._read(0.2)
    screen.keys(b"\x03")
    screen.wait_for("interrupted, kept", 60)
    screen.wait_for("› ", 60)
    screen.keys(b"/why\r")
    screen.wait_for("budget", 60)
    screen.wait_for("› ", 60)
    screen.keys(b"half a line\x03")
    screen.wait_for("› ", 60)
    time.sleep(0.3)  # the prompt shows itself a moment before it reads
    screen.keys(b"\x04")
    assert screen.exit_code(60) == 0
    (cut,) = stored(rhea)
    assert (cut["state"], cut["user"]) == ("interrupted", STORY.decode().strip())
    assert cut["reply"].strip()
