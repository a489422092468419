"""MLflow model folders in the shapes that its versions wrote, to be changed by a test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDERS = Path(__file__).with_name("folders")

Saved = Callable[..., Path]


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """``saved("2.14", {"conda.yaml": None}, ("old", "new"))``: a folder, files replaced or (None) left out.

    Each swap changes a text of its MLmodel, which has to be there.
    """

    def make(version: str, files: dict[str, str | None] | None = None, *swaps: tuple[str, str]) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="saved-", dir=tmp_path))
        shutil.copytree(FOLDERS / version, folder, dirs_exist_ok=True)
        for name, text in (files or {}).items():
            place = folder / name
            if text is None:
                place.unlink()
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text, encoding="utf-8")
        mlmodel = folder / "MLmodel"
        for old, new in swaps:
            text = mlmodel.read_text()
            assert old in text
            mlmodel.write_text(text.replace(old, new))
        return folder

    return make
