"""`rhea chat` in a terminal: line editing, streamed replies, a few commands.

What the line editor offers on arrow-up comes from the conversation itself, not from a file of its own: it is
there on any machine with the database, and erasing a user leaves no copy behind.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from rhea.cli.answering import Answer, answer
from rhea.cli.drawing import commands_view, footer, history_view, printable, rules_view, why_view
from rhea.cli.interrupts import ctrl_c_passed_over
from rhea.cli.wrapping import WordWrap
from rhea.errors import RheaError, StoreError
from rhea.types import TurnState

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer

    from rhea.memory import Conversation, Rhea

__all__ = ["COMMANDS", "Terminal", "command_completer", "line_reader"]

COMMANDS = {
    "/help": "these commands",
    "/why": "what the model saw in the last turn and why; /why 3 for turn 3",
    "/rules": "standing instructions in force",
    "/history": "the last ten turns; /history 50 for more",
    "/new": "start another conversation; /new NAME to name it",
    "/quit": "leave (Ctrl-D does too)",
}
_SHOWN = 10
_REMEMBERED = 200


class Terminal:
    """The loop behind the prompt.

    Args:
        memory: with a model attached.
        chat: the conversation to begin with.
        console: where everything is shown.
        progress: where a spinner may turn.
    """

    def __init__(self, memory: Rhea, chat: Conversation, *, console: Console, progress: Console) -> None:
        self.memory = memory
        self.chat = chat
        self.console = console
        self.progress = progress
        self.leaving: int | None = None
        """Exit code, once it is time to leave."""
        self._rules = {i.text for i in chat.instructions.list()}
        self._unsaved: Answer | None = None

    def run(self, read: Callable[[], str]) -> int:
        """Talk until the user leaves; returns the exit code.

        Args:
            read: gives the next line; EOFError leaves, KeyboardInterrupt clears the line.
        """
        self.welcome()
        self._dim("/help lists the commands, Ctrl-C stops a reply, Ctrl-D leaves")
        with ctrl_c_passed_over():
            while self.leaving is None:
                try:
                    line = read()
                except KeyboardInterrupt:
                    continue
                except EOFError:
                    break
                self.take(line)
            self._save_again()
        return self.leaving or 0

    def take(self, line: str) -> None:
        """One line from the prompt: a command, or a message. Errors are told and the chat goes on."""
        if not line.strip():
            return
        try:
            if line.startswith("//"):
                self.say(line[1:])
            elif line.startswith("/"):
                self.command(line)
            else:
                self.say(line)
        except RheaError as error:
            self._complain(str(error))

    def welcome(self) -> None:
        """Who, where, how much is remembered, and what was cut off."""
        known = self.chat.summary.turns
        model = self.memory.model
        where = f"{printable(self.chat.user)} / {printable(self.chat.name)}"
        about = [getattr(model, "name", ""), where, _many(known, "turn"), _many(len(self._rules), "rule")]
        self._dim(" · ".join(part for part in about if part))
        for last in self.chat.history(last=1):
            if last.state is TurnState.INTERRUPTED:
                self._dim(f"turn {last.position} was interrupted; /history shows it")

    def say(self, text: str) -> None:
        """Send a message and stream the reply."""
        self._save_again()
        wrap = WordWrap(lambda: self.console.width)
        status = self.progress.status("thinking …", spinner="dots")
        status.start()

        def show(piece: str) -> None:
            status.stop()
            self._write(wrap.feed(printable(piece)))

        try:
            done = answer(self.chat, text, show)
        finally:
            status.stop()
            self._write(wrap.rest() + ("\n" if wrap.column else ""))
        self._tell(done)

    def command(self, line: str) -> None:
        """Run one of `COMMANDS`."""
        name, _, rest = line.strip().partition(" ")
        runs: dict[str, Callable[[str], None]] = {
            "/help": self._help,
            "/why": self._why,
            "/rules": self._list_rules,
            "/history": self._history,
            "/new": self._new,
            "/quit": self._quit,
        }
        if name not in runs:
            self._complain(f"no command {name}; /help lists them. To send it as a message, write /{line.strip()}")
            return
        runs[name](rest.strip())

    def _tell(self, done: Answer) -> None:
        for text in done.context.instructions:
            if text not in self._rules:
                self._dim(f"+ rule: {' '.join(printable(text).split())}")
        self._rules = set(done.context.instructions)
        self.console.print(footer(done.context, done.seconds, interrupted=done.interrupted))
        self.console.print()
        if done.unsaved is not None:
            self._unsaved = done
            self._complain(f"{done.unsaved}. It will be saved with your next message")
        if done.signal is not None and done.signal != signal.SIGINT:
            self.leaving = 128 + done.signal

    def _save_again(self) -> None:
        if self._unsaved is not None:
            try:
                self._unsaved.turn.commit(self._unsaved.reply, interrupted=self._unsaved.interrupted)
            except StoreError as error:
                self._complain(str(error))
            else:
                self._dim(f"the reply of turn {self._unsaved.turn.position} is saved now")
                self._unsaved = None

    def _help(self, _rest: str) -> None:
        self.console.print(commands_view(COMMANDS))

    def _why(self, rest: str) -> None:
        position = self._number(rest)
        if position != 0:
            self.console.print(why_view(*self.chat.why(position)))

    def _list_rules(self, _rest: str) -> None:
        self.console.print(rules_view(self.chat.instructions.list()))

    def _history(self, rest: str) -> None:
        most = self._number(rest)
        if most != 0:
            self.console.print(history_view(self.chat.history(last=most or _SHOWN)))

    def _new(self, rest: str) -> None:
        taken = {c.name for c in self.memory.user(self.chat.user).conversations()}
        name = rest or next(n for i in range(2, len(taken) + 3) if (n := f"chat-{i}") not in taken)
        self.chat = self.memory.conversation(name, user=self.chat.user)
        self._rules = {i.text for i in self.chat.instructions.list()}
        self.welcome()

    def _quit(self, _rest: str) -> None:
        self.leaving = 0

    def _number(self, text: str) -> int | None:
        """A positive number, ``None`` for nothing; 0 after saying that it is neither."""
        if not text:
            return None
        if text.isascii() and text.isdigit() and int(text) > 0:
            return int(text)
        self._complain(f"{text!r} is not the number of a turn")
        return 0

    def _write(self, text: str) -> None:
        self.console.file.write(text)
        self.console.file.flush()

    def _dim(self, text: str) -> None:
        self.console.print(Text(text, style="bright_black"))

    def _complain(self, message: str) -> None:
        self.console.print(Text(printable(message), style="red"))


def line_reader(terminal: Terminal) -> Callable[[], str]:
    """The prompt: line editing, arrow-up over earlier messages, completion of commands, Alt-Enter for a new line."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.formatted_text import FormattedText
    from prompt_toolkit.history import InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    def session_for(chat: Conversation) -> PromptSession[str]:
        said = [turn.user for turn in chat.history(last=_REMEMBERED)]
        return PromptSession(
            FormattedText([("bold ansicyan", "› ")]),
            history=InMemoryHistory(said),
            completer=command_completer(),
            complete_while_typing=True,
            key_bindings=keys,
            prompt_continuation="  ",
            reserve_space_for_menu=len(COMMANDS),
        )

    chat = terminal.chat
    session = session_for(chat)

    def read() -> str:
        nonlocal chat, session
        if terminal.chat is not chat:  # /new was there: arrow-up follows
            chat = terminal.chat
            session = session_for(chat)
        return session.prompt()

    return read


def command_completer() -> Completer:
    """Completes `COMMANDS`, and nothing in a message."""
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document

    class Commands(Completer):
        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
            typed = document.text_before_cursor
            if typed.startswith("/") and not typed.startswith("//"):
                for name, meaning in COMMANDS.items():
                    if name.startswith(typed):
                        yield Completion(name, start_position=-len(typed), display_meta=meaning)

    return Commands()


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
