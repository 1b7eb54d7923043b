"""`rhea chat`: opens the database, loads the model, and hands over to the terminal or to the piped loop."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rhea.cli.app import app, reported
from rhea.cli.options import DEFAULT_CONVERSATION, Budget, Conversation, Database, Json, User, opened, quiet

if TYPE_CHECKING:
    from rhea.compress.lazy import MemoryTokens
    from rhea.embed import Embedder
    from rhea.models.base import ChatModel

__all__ = ["ECHO", "TEXT", "at_a_terminal", "chat", "choose_compressor", "choose_model", "default_embedder", "load"]

ECHO = "echo"
"""The `--model` that needs no model."""
TEXT = "text"
"""The `--compressor` that makes no memory tokens."""


@app.command()
def chat(
    user: User,
    conversation: Conversation = DEFAULT_CONVERSATION,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Hub name, folder or .gguf file; `echo` repeats what you say, to look around without a model.",
            show_default="the packaged SmolLM2-135M-Instruct",
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="An OpenAI-compatible server; its key is read from $OPENAI_API_KEY."),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --base-url: the served model's tokenizer, for exact token counts."),
    ] = None,
    database: Database = None,
    budget: Budget = None,
    reserve: Annotated[
        int, typer.Option(metavar="TOKENS", min=1, help="Longest reply, kept free in the model's window.")
    ] = 512,
    temperature: Annotated[
        float, typer.Option(metavar="T", min=0.0, help="0 takes the likeliest words; above, replies vary.")
    ] = 0.0,
    compressor: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Compressor whose memory tokens stand for older replies; `text` for digests alone.",
            show_default="the one that ships for the packaged model",
        ),
    ] = None,
    recall: Annotated[
        str, typer.Option(metavar="WHERE", help="Recall past turns of this `conversation`, or of all of the `user`'s.")
    ] = "conversation",
    as_json: Json = False,
) -> None:
    """Chat with a model that remembers.

    In a terminal: /help lists the commands, Ctrl-C stops a reply and keeps it, Ctrl-D leaves.
    Piped: one line is one message and stdout holds only the replies; --json prints one object a turn.
    """
    from rhea.settings import Settings

    interactive = not as_json and at_a_terminal()
    with reported():
        settings: dict[str, Any] = {"recall": recall} | ({"budget": budget} if budget is not None else {})
        chosen = choose_model(model, base_url=base_url, tokenizer=tokenizer, reserve=reserve, temperature=temperature)
        embedder = default_embedder()
        smaller = choose_compressor(compressor, chosen, packaged=model is None)
        parts = {"model": chosen, "embedder": embedder, "compressor": smaller, "settings": Settings(**settings)}
        with opened(database, create=True, **parts) as memory:
            talk = memory.conversation(conversation, user=user)
            load(chosen, embedder, show=interactive)
            if smaller is not None and not smaller.ready():
                typer.echo(f"rhea: older replies will be text digests: {smaller.problem}", err=True)
            if interactive:
                from rhea.cli.chat_terminal import Terminal, line_reader
                from rhea.cli.drawing import make_console

                terminal = Terminal(memory, talk, console=make_console(), progress=make_console(stderr=True))
                code = terminal.run(line_reader(terminal))
            else:
                from rhea.cli.chat_piped import converse

                cap = memory.settings.max_message_bytes
                code = converse(talk, sys.stdin.buffer, as_json=as_json, max_bytes=cap)
    if code:
        raise typer.Exit(code)


def choose_model(
    name: str | None,
    *,
    base_url: str | None = None,
    tokenizer: str | None = None,
    reserve: int = 512,
    temperature: float = 0.0,
) -> ChatModel:
    """The model that the options ask for, not loaded yet.

    Raises:
        SettingsError: options that do not go together.
    """
    from rhea.errors import SettingsError

    if base_url is not None:
        if name is None:
            raise SettingsError("--base-url needs --model with the name that the server knows the model by")
        from rhea.models.openai import OpenAIModel

        return OpenAIModel(name, base_url=base_url, tokenizer=tokenizer, temperature=temperature, reserve=reserve)
    if tokenizer is not None:
        raise SettingsError("--tokenizer goes with --base-url: other models bring their own")
    if name == ECHO:
        from rhea.testing import EchoModel

        return EchoModel(reserve=reserve)
    from rhea.models.transformers import Sampling, TransformersModel

    sampling = Sampling(temperature=temperature) if temperature > 0 else None
    # the packaged model is very small: undisturbed, its likeliest next word is soon the one it said before
    penalty = 1.1 if name is None else 1.0
    return TransformersModel(name, sampling=sampling, reserve=reserve, repetition_penalty=penalty)


def choose_compressor(option: str | None, model: ChatModel, *, packaged: bool) -> MemoryTokens | None:
    """Memory tokens as asked for, or those that ship where the model is the packaged one; else ``None``.

    Raises:
        SettingsError: a folder is named, but the model cannot read memory tokens.
    """
    from rhea.models.base import reads_memory

    if option == TEXT or (option is None and not packaged):
        return None
    if not reads_memory(model):
        if option is None:
            return None
        from rhea.errors import SettingsError

        raise SettingsError(f"--compressor needs a model that runs here: {model.name} cannot read memory tokens")
    from rhea.compress.lazy import MemoryTokens
    from rhea.models.transformers import TransformersModel

    return MemoryTokens(model, option) if isinstance(model, TransformersModel) else None


def at_a_terminal() -> bool:
    """Whether a person can type and read here."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def default_embedder() -> Embedder:
    """The packaged embedder, not loaded yet."""
    from rhea.embed import SentenceTransformerEmbedder

    return SentenceTransformerEmbedder()


def load(model: ChatModel, embedder: Embedder, *, show: bool) -> None:
    """Load both now, so that the first reply does not wait; ``show`` turns a spinner on stderr.

    Raises:
        ModelError, EmbedderError: one of them cannot be loaded.
    """
    quiet()
    if show:
        from rhea.cli.drawing import make_console

        waiting: Any = make_console(stderr=True).status(f"loading {model.name} …")
    else:
        waiting = nullcontext()
    with waiting as status:
        if callable(start := getattr(model, "load", None)):
            start()
        if status is not None:
            status.update(f"loading the embedder {embedder.id} …")
        embedder.embed(["ready"])
