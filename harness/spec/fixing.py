"""Writing into a ``model.toml`` of somebody else's: comments, order and layout stay as they are."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Sequence

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.exceptions import TOMLKitError

from harness import files
from harness.errors import BadInput
from harness.spec import model as models
from harness.spec import reading
from harness.spec.model import Model

_KEY = "system_packages"


def line(model: Model, packages: Iterable[str]) -> str:
    """The line of ``model.toml`` that names the model's ``system_packages`` and these as well."""
    return f"{_KEY} = {json.dumps(_together(model, packages))}"


def add_system_packages(model: Model, packages: Sequence[str]) -> str:
    """Write them into the model's ``model.toml``; the line as it stands there then.

    BadInput where the file can't be written, or cannot be changed without changing anything else.
    """
    file = model.folder / "model.toml"
    text = files.read_text(file, at_most=reading.MAX_TOML_BYTES, below=model.folder)
    wanted = _together(model, packages)
    try:
        changed = _changed(text, [name for name in wanted if name not in model.file.system_packages])
        same = tomllib.loads(changed) == {**tomllib.loads(text), _KEY: wanted}
    except (TOMLKitError, ValueError, TypeError, AttributeError, RecursionError):
        same = False
    if not same:
        raise BadInput("cannot be changed by itself", file=file, key=_KEY, remedy=f"write {line(model, packages)}")
    owner = file.lstat()
    files.write_whole(file, changed)
    if os.geteuid() == 0:
        os.chown(file, owner.st_uid, owner.st_gid, follow_symlinks=False)
    models.read(model.folder)
    return line(model, packages)


def _together(model: Model, packages: Iterable[str]) -> list[str]:
    return [*model.file.system_packages, *sorted(set(packages) - set(model.file.system_packages))]


def _changed(text: str, more: Sequence[str]) -> str:
    document = tomlkit.parse(text)
    known = document.get(_KEY)
    if known is None:
        return _with_line(text, document, f"{_KEY} = {json.dumps(list(more))}")
    known.extend(more)
    return tomlkit.dumps(document)


def _with_line(text: str, document: TOMLDocument, added: str) -> str:
    """The text with a line after the requirements, or else after the version of the format, with which it begins."""
    key = "requirements" if "requirements" in document else "spec_version"
    before = tomlkit.document()
    for name, item in document.body:
        before.append(name, item) if name is not None else before.add(item)
        if name is not None and name.key == key:
            break
    head = tomlkit.dumps(before)
    if not text.startswith(head):
        raise ValueError("tomlkit has another layout")
    end = "\r\n" if "\r\n" in text else "\n"
    return f"{head}{'' if head.endswith(end) else end}{added}{end}{text[len(head) :]}"
