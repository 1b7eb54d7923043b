"""Draws docs/images/one-turn.svg: the steps of one turn, what is stored when, and the prompt that comes out.

Run `python scripts/draw_one_turn.py` after a change; the picture holds no fonts and fetches nothing.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 940, 560
TARGET = Path(__file__).resolve().parent.parent / "docs" / "images" / "one-turn.svg"

INK, PALE, LINE = "#1f2d2b", "#5b6b68", "#90a4a0"
STEP, STORE, MODEL, LATER = "#d9efec", "#fbe9c6", "#e3e0f5", "#eceff0"


def text(
    x: float, y: float, words: str, *, size: int = 14, fill: str = INK, anchor: str = "middle", bold: bool = False
) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'
    )


def box(
    x: float, y: float, w: float, h: float, title: str, note: str = "", *, fill: str = STEP, dashed: bool = False
) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    out = [f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="7" fill="{fill}" stroke="{LINE}"{dash}/>']
    lines = note.split("\n") if note else []
    top = y + h / 2 + 5 - 8 * len(lines)
    out.append(text(x + w / 2, top, title, bold=True))
    out += [text(x + w / 2, top + 17 * (i + 1), line, size=12, fill=PALE) for i, line in enumerate(lines)]
    return "".join(out)


def arrow(*points: tuple[float, float], dashed: bool = False) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    path = " ".join(f"{'M' if i == 0 else 'L'}{x} {y}" for i, (x, y) in enumerate(points))
    return f'<path d="{path}" fill="none" stroke="{PALE}" stroke-width="1.6" marker-end="url(#head)"{dash}/>'


def steps() -> list[str]:
    """The path of the user's message down to the prompt, in the left half."""
    names = [
        ("intake", "refuse what no store can hold", STEP),
        ("detect", "a rule? a change of one? an end?", STEP),
        ("store", "message safe, turn pending", STORE),
        ("recall", "raw, compressed or omitted, by evidence", STEP),
        ("assemble", "sections under one token budget", STEP),
    ]
    out = [text(150, 40, "what the user says", size=15, bold=True)]
    y = 60.0
    out.append(arrow((150, 47), (150, y - 2)))
    for i, (title, note, fill) in enumerate(names):
        out.append(box(20, y, 260, 58, title, note, fill=fill))
        if i < len(names) - 1:
            out.append(arrow((150, y + 58), (150, y + 82)))
        y += 84
    return out


def prompt() -> list[str]:
    """What the model sees, in the middle: its sections in their order."""
    rows = [
        ("user / assistant", "recent: the last exchange", 58, LATER),
        ("user", "background: past turns by evidence", 58, LATER),
        ("", "the rules in force, verbatim", 40, STEP),
        ("", "the question", 40, "#ffffff"),
        ("", "rules and roles once more", 40, STEP),
    ]
    x, y, w = 360.0, 92.0, 280.0
    out = [
        text(x + w / 2, 52, "turn.messages", size=15, bold=True),
        text(x + w / 2, 72, "never more tokens than the budget", size=12, fill=PALE),
        f'<rect x="{x - 10}" y="{y - 10}" width="{w + 20}" height="250" rx="9" fill="#ffffff" stroke="{INK}"'
        ' stroke-width="1.6"/>',
    ]
    for role, words, h, fill in rows:
        out.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h - 6}" rx="4" fill="{fill}" stroke="{LINE}"/>')
        if role:
            out.append(text(x + 8, y + 15, role, size=11, fill=PALE, anchor="start"))
        out.append(text(x + w / 2, y + (h - 6) / 2 + (10 if role else 5), words, size=13))
        y += h
    return out


def after() -> list[str]:
    """The model and what follows it, in the right third."""
    x, w = 710.0, 210.0
    mid = x + w / 2
    return [
        box(x, 92, w, 74, "your model call", "no transaction is open;\nit may take its time", fill=MODEL),
        arrow((mid, 166), (mid, 206)),
        text(mid + 10, 190, "reply", size=12, fill=PALE, anchor="start"),
        box(x, 208, w, 74, "commit", "reply, pending work and\ntrace in one transaction", fill=STORE),
        arrow((mid, 282), (mid, 322), dashed=True),
        text(mid + 10, 306, "later", size=12, fill=PALE, anchor="start"),
        box(x, 324, w, 74, "compress and index", "in the background;\nresumes after a crash", fill=LATER, dashed=True),
    ]


def database() -> list[str]:
    x, y, w, h = 360, 424, 560, 92
    return [
        f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="9" fill="{STORE}" stroke="{LINE}"/>',
        text(x + w / 2, y + 26, "SQL database (SQLite or PostgreSQL): the truth", bold=True),
        text(x + w / 2, y + 48, "users · conversations · turns · instructions and their history", size=12, fill=PALE),
        text(x + w / 2, y + 66, "digests · vectors · traces · pending work", size=12, fill=PALE),
    ]


def picture() -> str:
    assembled, right = 60 + 4 * 84 + 29, 650
    parts = [
        *steps(),
        *prompt(),
        *after(),
        *database(),
        arrow((280, assembled), (316, assembled), (316, 214), (348, 214)),
        arrow((right, 129), (708, 129)),
        # the store step writes, recall reads; commit and the background work write
        arrow((280, 257), (300, 257), (300, 500), (358, 500)),
        arrow((358, 470), (332, 470), (332, 341), (282, 341)),
        arrow((815, 398), (815, 422), dashed=True),
        arrow((920, 245), (930, 245), (930, 470), (922, 470)),
    ]
    style = 'font-family="system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT - 20}" role="img" {style}>'
        "<title>One turn: intake, detect, store, recall, assemble, the model, commit, compress</title>"
        f'<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L10 5 L0 10 z" fill="{PALE}"/></marker></defs>'
        f'<rect width="{WIDTH}" height="{HEIGHT - 20}" rx="12" fill="#fbfdfc"/>' + "".join(parts) + "</svg>\n"
    )


if __name__ == "__main__":
    TARGET.write_text(picture(), encoding="utf-8")
