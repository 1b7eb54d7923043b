"""`__all__` is sorted, complete and importable; importing rhea stays light."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import rhea
from rhea import errors

MODULES = sorted(
    m.name
    for m in pkgutil.walk_packages(rhea.__path__, "rhea.")
    if ".versions." not in m.name and not m.name.startswith(("rhea.migrations.env", "rhea.bench.peers."))
)


@pytest.mark.parametrize("name", rhea.__all__)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(rhea, name).__doc__


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = rhea.nothing_like_it


@pytest.mark.parametrize("name", ["rhea.errors", "rhea.types", "rhea.memory", "rhea.settings", "rhea.testing"])
def test_all_is_sorted_and_true(name: str) -> None:
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(module.__all__)
    public = {
        n
        for n, v in vars(module).items()
        if not n.startswith("_") and getattr(v, "__module__", None) == name and callable(v)
    }
    assert public <= set(module.__all__), public - set(module.__all__)


def test_every_error_stands_in_the_tree_of_its_docstring() -> None:
    for name in errors.__all__:
        assert name in (errors.__doc__ or "")
        assert issubclass(getattr(errors, name), errors.RheaError)


def test_importing_rhea_loads_no_heavy_library() -> None:
    code = (
        "import sys, rhea; from rhea import Settings, RheaError;"
        "print([m for m in ('torch','transformers','faiss','sentence_transformers','sqlalchemy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
