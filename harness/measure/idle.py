"""What an environment carries in vain: libraries for GPUs, and packages that answering the examples does not touch.

A package is touched where a module of it was loaded or a native file of it was mapped into memory. Data that a model
opens by itself is not seen, nor what it does for other inputs: so this is advice, and nothing is left out by itself.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name

from harness import files
from harness.errors import BadInput
from harness.methods.contract import Traced

#: Packages that hold nothing but code for GPUs: NVIDIA's, AMD's, and the compiler that PyTorch uses on them.
_FOR_GPUS = re.compile(r"(nvidia|cuda|rocm|amd)-.+|triton(-.+)?|pytorch-triton.*|cupy-.+")
_RECORD_BYTES = 64 * 2**20
_METADATA_BYTES = 2**20
_REQUIRES = re.compile(r"(?mi)^Requires-Dist:\s*([A-Za-z0-9][\w.-]*)")
_NAME = re.compile(r"(?mi)^Name:\s*([A-Za-z0-9][\w.-]*)\s*$")


@dataclass(frozen=True, kw_only=True)
class Package:
    """An installed package: its bytes on disk, what it asks for, whether a start touches it, whether it is for GPUs."""

    name: str
    size: int
    requires: frozenset[str]
    touched: bool

    @property
    def for_gpus(self) -> bool:
        """Whether it holds nothing that a processor runs."""
        return _FOR_GPUS.fullmatch(self.name) is not None


def packages(folder: Path, traced: Traced) -> list[Package]:
    """The packages installed in ``site-packages``, the largest first; those whose record can't be read are left out."""
    sizes, infos = {}, []
    for entry in files.walk(folder):
        if entry.kind == "file":
            sizes[entry.relative.as_posix()] = entry.status.st_size
        elif entry.kind == "folder" and entry.relative.suffix == ".dist-info" and len(entry.relative.parts) == 1:
            infos.append(entry.relative.name)
    modules = frozenset(traced.modules)
    mapped = frozenset(traced.mapped)
    found = []
    for info in infos:
        try:
            text = files.read_text(folder / info / "METADATA", at_most=_METADATA_BYTES, below=folder)
            record = files.read_text(folder / info / "RECORD", at_most=_RECORD_BYTES, below=folder)
            named = _NAME.search(text)
            held = [row[0] for row in csv.reader(record.splitlines()) if row]
        except (BadInput, csv.Error):
            continue
        if named is None:
            continue
        own = [path for path in held if path in sizes]
        touched = not mapped.isdisjoint(own) or not modules.isdisjoint(map(_module, own))
        found.append(
            Package(
                name=canonicalize_name(named[1]),
                size=sum(sizes[path] for path in own),
                requires=frozenset(canonicalize_name(name) for name in _REQUIRES.findall(text)),
                touched=touched,
            )
        )
    return sorted(found, key=lambda one: (-one.size, one.name))


def _module(path: str) -> str:
    """The module that a file is of: ``a.b`` of ``a/b/__init__.py``, ``a/b.py`` or ``a/b.cpython-311-x.so``."""
    place = PurePosixPath(path)
    stem = place.name.partition(".")[0]
    parts = place.parts[:-1] if stem == "__init__" else (*place.parts[:-1], stem)
    return ".".join(parts) if place.suffix in (".py", ".so") else ""


def line_without_gpus(found: Sequence[Package], pinned: Sequence[str]) -> str:
    """The line of ``model.toml`` that brings a package's CPU build; empty where none is known.

    ``pinned`` are the model's own requirements.
    """
    names = {one.name for one in found}
    if "torch" in names:
        return 'torch_backend = "cpu"'
    if "xgboost" in names:
        told = next((text for text in pinned if re.match(r"(?i)xgboost\b(?!-)", text)), "xgboost")
        return f'"{re.sub(r"(?i)^xgboost", "xgboost-cpu", told)}" in requirements, in place of "{told}"'
    return ""


def asking(found: Sequence[Package]) -> Iterator[str]:
    """The packages that ask for those for GPUs, themselves not among them."""
    gpus = {one.name for one in found if one.for_gpus}
    for one in found:
        if not one.for_gpus and not gpus.isdisjoint(one.requires):
            yield one.name
