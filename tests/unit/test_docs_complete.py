"""The reference is complete: a public name, a setting, an error, a command or an option without a place fails here."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import rhea
import rhea.errors
import rhea.testing
import rhea.types
from rhea import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _resolve(path: str) -> Any:
    """What a dotted path names: a module, or something inside one."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(_resolve(module), name)


def _directives() -> list[str]:
    """Everything that the reference draws from docstrings."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.md"))
    return re.findall(r"^::: ([\w.]+)$", text, re.M)


def _documented() -> set[str]:
    """Dotted paths of all names on the reference pages, those of a module by its `__all__`."""
    found: set[str] = set()
    for path in _directives():
        named = _resolve(path)
        found.add(path)
        if isinstance(named, ModuleType):
            found |= {f"{path}.{name}" for name in named.__all__}
    return found


def _home(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def test_every_public_name_is_in_the_reference() -> None:
    found = _documented()
    elsewhere = {"rhea.errors.RheaError", "rhea.settings.Settings"}  # pages of their own, checked below
    missing = {_home(getattr(rhea, name)) for name in rhea.__all__} - found - elsewhere
    assert not missing
    for module in (rhea.types, rhea.testing):
        assert {f"{module.__name__}.{name}" for name in module.__all__} <= found


def test_what_the_reference_names_exists_and_says_something() -> None:
    silent = [path for path in _directives() if not inspect.getdoc(_resolve(path))]
    assert not silent


def _classes() -> Iterator[type]:
    for path in sorted(_documented()):
        value = _resolve(path)
        if inspect.isclass(value):
            yield value


def test_every_public_method_has_a_docstring() -> None:
    bare = [
        f"{_home(cls)}.{name}"
        for cls in _classes()
        for name, member in vars(cls).items()
        if not name.startswith("_")
        and (inspect.isfunction(member) or isinstance(member, (property, classmethod, staticmethod)))
        and not inspect.getdoc(member)
    ]
    assert not bare


def test_generated_pages_are_those_of_the_code() -> None:
    for path, text in _script("make_reference").pages().items():
        assert path.read_text(encoding="utf-8") == text, f"run scripts/make_reference.py: {path.name} is behind"


def test_every_setting_and_its_default_is_listed() -> None:
    page = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    for field in fields(Settings):
        assert re.search(rf"^\| `{field.name}` \| .+ \| `{re.escape(repr(field.default))}` \| .{{15,}} \|$", page, re.M)


def test_every_error_is_listed_and_drawn() -> None:
    page = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    for name in rhea.errors.__all__:
        assert f"| `{name}` |" in page
        assert re.search(rf"(?:── |^){name}\b", page, re.M), f"{name} is missing from the tree"


def test_links_of_the_readme_lead_to_files() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        targets = re.findall(r"\]\(([^)#\s]+)", (ROOT / name).read_text(encoding="utf-8"))
        assert [t for t in targets if "://" not in t and not (ROOT / t).exists()] == []


def test_the_readme_names_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = {str(page.relative_to(ROOT)) for page in DOCS.rglob("*.md") if page.parent != REFERENCE}
    assert {page for page in pages if page not in readme} == set()


def test_the_picture_is_what_its_script_draws() -> None:
    script = _script("draw_one_turn")
    assert script.TARGET.read_text(encoding="utf-8") == script.picture()


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        elif not command.hidden:
            yield f"{path} {name}", command


def _application() -> Any:
    import typer

    from rhea.cli import COMMAND_MODULES
    from rhea.cli.app import app

    for name in COMMAND_MODULES:
        importlib.import_module(f"rhea.cli.{name}")
    return typer.main.get_command(app)


def _cli_sections() -> dict[str, str]:
    """Text of docs/cli.md below each heading that names a command."""
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    parts = re.split(r"^#+ +`?(rhea[ \w-]*?)`? *$", page, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_and_option_is_documented() -> None:
    sections = _cli_sections()
    missing = []
    for path, command in _commands(_application(), "rhea"):
        text = sections.get(path)
        if text is None:
            missing.append(path)
            continue
        for parameter in command.params:
            names = [n for n in parameter.opts if n.startswith("--")] or [parameter.metavar or parameter.name.upper()]
            if not getattr(parameter, "hidden", False) and not any(n in text for n in names):
                missing.append(f"{path} {names[0]}")
    assert not missing


def test_every_command_and_option_says_what_it_is_for() -> None:
    silent = []
    for path, command in _commands(_application(), "rhea"):
        if not command.help:
            silent.append(path)
        silent += [f"{path} {p.opts[0]}" for p in command.params if p.opts[0].startswith("-") and not p.help]
    assert not silent


@pytest.mark.slow
@pytest.mark.xdist_group("docs")
def test_the_site_builds_strictly_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for page in tmp_path.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r'<(?:script|img|iframe)[^>]+src="?(?:https?:)?//', text), page.name
        assert not re.search(r'<link[^>]+rel="?(?:stylesheet|preconnect)"?[^>]+href="?(?:https?:)?//', text), page.name
        assert ":class:" not in text, f"{page.name} shows a reST role"
        assert "```" not in text, f"{page.name} shows a fence that was not understood"
    inventory = _inventory(tmp_path / "objects.inv")
    assert {_home(getattr(rhea, n)) for n in rhea.__all__} - {"rhea.errors.RheaError"} <= inventory | {
        "rhea.settings.Settings"
    }


def _inventory(path: Path) -> set[str]:
    """Names in a Sphinx inventory: four lines of header, then one compressed line a name."""
    import zlib

    body = path.read_bytes().split(b"\n", 4)[4]
    return {line.split(" ", 1)[0] for line in zlib.decompress(body).decode("utf-8").splitlines()}
