"""The wheel holds `rhea/`, all of it and nothing else, and lives beside a distribution that owns a `cli`."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HOMES = {"stores": "rhea/stores", "cli": "rhea/cli", "migrations": "rhea/migrations"}
SHIPPED = {".py", ".json", ".jsonl", ".safetensors", ".npz", ".md", ".typed", ".mako"}


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in tracked():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        path = ROOT / name
        if path.is_symlink():
            target.symlink_to(path.readlink())
        else:
            target.write_bytes(path.read_bytes())
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), cwd=source)
    (found,) = out.glob("*.whl")
    return found


def tracked() -> list[str]:
    names = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\n")
    return [n for n in names if n and (ROOT / n).exists() and not n.startswith((".dev/", "docs/", "tests/"))]


def test_the_wheel_equals_the_tree(wheel: Path) -> None:
    packed = {n for n in zipfile.ZipFile(wheel).namelist() if not n.startswith("rhea_memory-")}
    assert packed
    assert all(n.startswith("rhea/") for n in packed), packed
    expected = set()
    for name in tracked():
        top, _, rest = name.partition("/")
        if not rest or Path(name).suffix not in SHIPPED:
            continue
        if top in HOMES:
            expected.add(f"{HOMES[top]}/{rest}")
        elif top == "rhea":
            expected.add(name)
    assert packed == expected


def test_a_foreign_cli_package_does_no_harm(wheel: Path, tmp_path: Path) -> None:
    other, site = tmp_path / "other", tmp_path / "site"
    for package in ("cli", "stores"):
        (other / package).mkdir(parents=True)
        (other / package / "__init__.py").write_text("OWNER = 'other'\n")
    (other / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "other"\nversion = "1"\n[tool.setuptools]\npackages = ["cli", "stores"]\n'
    )
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), cwd=other)
    (foreign,) = tmp_path.glob("other-*.whl")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site))
    run(*pip, str(wheel), str(foreign), cwd=tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r});"
        "import cli, stores, rhea, rhea.cli.app, rhea.stores.base;"
        "print(cli.OWNER, stores.OWNER, rhea.__file__, rhea.stores.base.__file__)"
    )
    out = run(sys.executable, "-P", "-c", code, cwd=tmp_path)
    assert out.startswith("other other")
    assert out.count(str(site / "rhea")) == 2
