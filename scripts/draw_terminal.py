"""Draws docs/images/chat.svg and why.svg: a real chat in the terminal, as `rhea chat` shows it.

Run `python scripts/draw_terminal.py` after the terminal's look has changed. The replies are those of the
packaged model, so they differ a little from machine to machine; the pictures hold no fonts and fetch nothing.
"""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from rhea import Rhea, SentenceTransformerEmbedder, TransformersModel
from rhea.cli.chat_terminal import Terminal
from rhea.cli.options import quiet
from rhea.memory import Conversation

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"
WIDTH = 92
CHAT = [
    "My dog is called Biscuit. From now on, end every answer with the word amen.",
    "/rules",
    "What is my dog called?",
]
PLANTS = (
    "Most house plants die of too much water, not of too little. Put a finger into the soil: when it is dry to the "
    "second knuckle, water until it runs out below, then leave it alone for a week. A fern wants more, a cactus hardly "
    "anything between October and March. Yellow leaves mean wet roots, brown tips mean dry air. Turn each pot once a "
    "week so that it grows straight, and wipe the dust off the leaves, because dust takes the light. Feed them every "
    "fortnight from April to August, never in winter. And do not repot a plant that is ill: let it get well first."
)
BREAD = (
    "Mix 500 grams of flour with 350 grams of water, 10 grams of salt and 2 grams of dry yeast. Let it stand overnight "
    "in the kitchen. In the morning fold it four times, shape a loaf, and let it rise for an hour under a cloth. Heat "
    "the oven with a heavy pot inside to 250 degrees. Put the loaf into the pot, close the lid, and bake for half an "
    "hour; take the lid off, and bake for a quarter of an hour more at 230 degrees. It is done when it sounds hollow "
    "from below. Let it cool before you cut it, even if that is the hardest part of all."
)
PAST = [
    ("Always give temperatures in Celsius.", "I will."),
    ("How do I keep my house plants alive? I have a fern and a cactus.", PLANTS),
    ("What is a good name for a cat?", "Miso, if she is small and white."),
    ("How do I bake a simple bread?", BREAD),
    ("Who wrote Momo?", "Michael Ende, in 1973."),
    ("My bread came out flat last time, by the way. The yeast was old.", "Then the fresh packet will do wonders."),
    ("What rhymes with orange?", "Nothing quite does."),
    ("How long do ants live?", "Workers live for months, queens for many years."),
    ("Is it going to rain tomorrow?", "I cannot see the weather from here."),
    ("Tell me a fact about octopuses.", "They have three hearts."),
    ("Translate good morning into Finnish.", "Hyvää huomenta."),
]
FRAME = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.S)


def talk(lines: list[str], terminal: Terminal, screen: io.StringIO) -> str:
    """Type each line at the prompt; returns what the screen shows."""
    begin = screen.tell()
    for line in lines:
        screen.write(f"\x1b[1;36m› \x1b[0m{line}\n")
        terminal.take(line)
    return screen.getvalue()[begin:]


def draw(shown: str, title: str, name: str) -> None:
    """One picture of a terminal's contents."""
    console = Console(file=io.StringIO(), record=True, width=WIDTH, force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(shown.rstrip("\n")), soft_wrap=False, highlight=False)
    svg = console.export_svg(title=title, code_format=FRAME, unique_id=name)
    (FOLDER / f"{name}.svg").write_text(svg.replace("Fira Code", "ui-monospace, Menlo, Consolas"), encoding="utf-8")


def prepared(memory: Rhea) -> Conversation:
    """A conversation of eleven turns and a question about the bread, under a budget that cannot hold them all."""
    chat = memory.conversation("kitchen", user="ada")
    for question, reply in PAST:
        chat.begin(question).commit(reply)
    memory.settle()
    chat.begin("At how many degrees did we say the bread bakes?", budget=400).commit("First 250, then 230 degrees.")
    return chat


def main() -> None:
    quiet()
    screen = io.StringIO()
    console = Console(
        file=screen, width=WIDTH, force_terminal=True, color_system="standard", markup=False, highlight=False
    )
    away = Console(file=io.StringIO())
    with tempfile.TemporaryDirectory() as folder:
        model = TransformersModel(device="cpu", reserve=80)
        model.load()
        embedder = SentenceTransformerEmbedder()
        embedder.embed(["loaded before the first turn is timed"])
        with Rhea(f"sqlite:///{folder}/chat.db", model=model, embedder=embedder) as memory:
            terminal = Terminal(memory, memory.conversation("main", user="ada"), console=console, progress=away)
            terminal.welcome()
            welcome = screen.getvalue()
            draw(welcome + talk(CHAT, terminal, screen), "rhea chat", "chat")
            terminal = Terminal(memory, prepared(memory), console=console, progress=away)
            draw(talk(["/why"], terminal, screen), "/why", "why")


if __name__ == "__main__":
    main()
