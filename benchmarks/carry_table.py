"""The table of libraries, ``carry.toml``, and the model folder that is made of each entry; see ``carry.py``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le

from harness.errors import BadInput
from harness.spec import reading
from harness.spec.kinds import Date
from harness.spec.model import DebianPackage, Json, Name, RequirementText, Seconds

TABLE = Path(__file__).with_name("carry.toml")

#: PyTorch's own build for processors: a plain one brings gigabytes of GPU libraries.
_CPU_BUILD = "+cpu"


@dataclass(frozen=True, kw_only=True)
class Library:
    """One library: its pinned requirements, and the model that exercises it.

    ``rank`` is its place among PyPI's most downloaded packages. ``predictor`` is the source of ``predictor.py``.
    ``from_source`` says that no index has a wheel of it for this Python.
    """

    __pydantic_config__ = reading.STRICT

    name: Name
    rank: Annotated[int, Ge(1), Le(15_000)]
    does: str
    requirements: tuple[RequirementText, ...]
    inputs: tuple[Json, ...]
    predictor: str
    from_source: bool = False
    system_packages: tuple[DebianPackage, ...] = ()
    tolerance: Annotated[float, Gt(0), Le(0.01)] = 1e-4
    memory_mb: int = 2048
    start_timeout_s: Seconds = 120.0
    predict_timeout_s: Seconds = 60.0

    @property
    def digest(self) -> str:
        """A digest of the whole entry: what was found of another entry of this name says nothing of this one."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def write(self, folder: Path, outputs: Sequence[Json]) -> None:
        """Write the model folder; ``outputs`` are what it must answer to each of its inputs."""
        folder.mkdir(parents=True, exist_ok=True)
        about = {
            "spec_version": 1,
            "name": self.name,
            "version": "1.0.0",
            "description": f"{self.name}: {self.does}",
            "framework": self.name,
            "family": "carry",
            "licence": "none: it is made by benchmarks/carry.py",
            "requirements": list(self.requirements),
            "system_packages": list(self.system_packages),
        }
        if any(_CPU_BUILD in text for text in self.requirements):
            about["torch_backend"] = "cpu"
        resources = {
            "memory_mb": self.memory_mb,
            "start_timeout_s": float(self.start_timeout_s),
            "predict_timeout_s": float(self.predict_timeout_s),
        }
        lines = [*_lines(about), "", "[examples]", *_lines({"tolerance": self.tolerance})]
        lines += ["", "[resources]", *_lines(resources)]
        (folder / "model.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        source = f'"""{self.name}: {self.does}."""\n\n{self.predictor.strip()}\n'
        (folder / "predictor.py").write_text(source, encoding="utf-8")
        examples = {"inputs": list(self.inputs), "outputs": list(outputs)}
        (folder / "examples.json").write_text(json.dumps(examples, ensure_ascii=False) + "\n", encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A library of a high rank that is not in the table, and why."""

    __pydantic_config__ = reading.STRICT

    name: Name
    rank: Annotated[int, Ge(1), Le(15_000)]
    why: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """All of ``carry.toml``. ``made_on`` is the day of its ranks and pins, ``sample`` what the real tests package."""

    __pydantic_config__ = reading.STRICT

    made_on: Date
    sample: tuple[Name, ...]
    library: tuple[Library, ...]
    left_out: tuple[LeftOut, ...] = ()

    def named(self, names: Sequence[str]) -> tuple[Library, ...]:
        """The libraries of these names, all of them for none; BadInput for a name that is not in the table."""
        known = {one.name: one for one in self.library}
        for name in names:
            if name not in known:
                raise BadInput(
                    "is not in the table", file=TABLE, key="--library", value=name, remedy=reading.one_of(name, known)
                )
        return tuple(known[name] for name in names) or self.library


def read(file: Path = TABLE) -> Table:
    """The table; BadInput for the first thing wrong with it."""
    table = reading.toml_table(file, remedy="it lies beside benchmarks/carry.py")
    return reading.record(Table, table, file=file)


def _lines(table: dict[str, Json]) -> list[str]:
    # Strings, numbers and lists of strings are written alike in JSON and TOML.
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
