"""``model.toml``: a model's folder as a frozen record.

A model is a folder with ``model.toml``, a predictor, its weights, and examples with expected
outputs. The predictor has ``load(model_dir: Path) -> Model`` and
``predict(model, inputs: list) -> list``, both of JSON-serialisable values.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from pydantic import AfterValidator

from harness import files, paths
from harness.errors import BadInput
from harness.spec import indexes, reading, synthetic
from harness.spec.indexes import Index

#: The version of the format that this code reads and writes.
SPEC_VERSION = 1

#: What a model's files may have in all where its ``resources.disk_mb`` does not allow for more, holes counted.
LARGEST_BYTES = 16 * 2**30

Json = Any  #: a JSON value: None, bool, int, float, str, list, dict


def _name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", value):
        raise ValueError("use lower-case letters, digits and hyphens, at most 64")
    return value


def check_numbers(value: str) -> None:
    """ValueError where a version has a number that Python does not read; comparing versions would raise it later."""
    if re.search(r"\d{1000}", value):
        raise ValueError("has a number of a thousand digits or more")


def requirement_text(value: str) -> str:
    """``value``, where it is a requirement that installers read as nothing else; ValueError otherwise."""
    check_numbers(value)
    try:
        parsed = Requirement(value)
    except (InvalidRequirement, RecursionError) as error:
        raise ValueError(f"is not a requirement that pip understands: {error}".splitlines()[0]) from None
    if parsed.url:
        raise ValueError("a requirement by URL or path cannot be locked for every method; publish or vendor it")
    # Installers read it as a line of a file, in which other signs begin options, comments and variables.
    if not re.fullmatch(r"[A-Za-z0-9 ._\[\],;<>=!~*+()'\"-]+", value):
        raise ValueError("has other signs than names, versions and conditions are written with")
    return value


def _debian_package(value: str) -> str:
    # apt takes a name with '-' behind it for one to remove.
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*[a-z0-9+]", value):
        raise ValueError("is not the name of a Debian package")
    return value


def _channel(value: str) -> str:
    name, address = r"[A-Za-z0-9_][\w.-]*(/[\w.-]+)*", r"(https?|file)://[\w.~:/@%+,=&?!$'()*\[\]-]+"
    if not re.fullmatch(f"{name}|{address}", value, re.ASCII) or ".." in value.split("/"):
        raise ValueError("is neither the name of a channel nor an address (https://, http:// or file://)")
    return value


def _conda_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", value):
        raise ValueError("is not the name of a package")
    return value


def _specifier(value: str) -> str:
    check_numbers(value)
    try:
        SpecifierSet(value)
    except InvalidSpecifier:
        raise ValueError("is not a version specifier such as '>=3.11'") from None
    return value


def _sha256(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("is not a sha256 in 64 lower-case hexadecimal digits")
    return value


Name = Annotated[str, AfterValidator(_name)]
RequirementText = Annotated[str, AfterValidator(requirement_text)]
DebianPackage = Annotated[str, AfterValidator(_debian_package)]
Channel = Annotated[str, AfterValidator(_channel)]
CondaName = Annotated[str, AfterValidator(_conda_name)]
SpecifierText = Annotated[str, AfterValidator(_specifier)]
Sha256 = Annotated[str, AfterValidator(_sha256)]
#: What one may ask for has a limit, beyond which it is a slip or mischief: a day, a tebibyte.
Seconds = Annotated[float, Gt(0), Le(86_400)]
_MOST_MB = 2**20

#: What may be left out of installed packages; ``harness/methods/pruning.py`` says what each does.
Prune = Literal["tests", "stubs", "headers", "symbols", "duplicates", "metadata", "sources"]

#: What is left out where ``model.toml`` does not say: nothing that an answer or a message can depend on.
SAFE_PRUNE: tuple[Prune, ...] = ("tests", "stubs", "headers", "symbols", "duplicates")


@dataclass(frozen=True, kw_only=True)
class ArtifactFile:
    """A file of weights, or a folder of them: made by ``train.py`` where it is not there, then checked.

    A ``path`` that ends in ``/`` is a folder with all that is in it; its ``sha256`` is :func:`harness.tree.digest`,
    its ``bytes`` are those of all its files. ``verify`` is ``sha256`` where training gives the same bits everywhere,
    ``outputs`` where it does not and the examples decide.
    """

    __pydantic_config__ = reading.STRICT

    path: str
    sha256: Sha256 | None = None
    bytes: Annotated[int, Ge(0)] | None = None
    verify: Literal["sha256", "outputs"] = "sha256"

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of files."""
        return self.path.endswith("/")

    def holds(self, relative: Path) -> bool:
        """Whether the file at ``relative``, seen from the model's folder, is it or in it."""
        return relative.is_relative_to(self.path) if self.is_folder else relative.as_posix() == self.path

    def present(self, folder: Path) -> bool:
        """Whether it is there below ``folder``; a folder without a file in it is not.

        BadInput where it, or a folder on the way to it, is a link, a pipe or the like.
        """
        place = folder / self.path
        kind = files.kind(place)
        if kind is None or (kind == "file" and self.is_folder):
            return False
        if not self.is_folder:
            files.check_regular(place, below=folder)
            return True
        inside = [entry for entry in files.walk(place, below=folder) if entry.kind != "folder"]
        for entry in inside:
            files.check_kind(entry.status.st_mode, entry.path)
        return bool(inside)


@dataclass(frozen=True, kw_only=True)
class ExamplesFile:
    """Where the inputs and expected outputs are; ``tolerance`` is relative, absolute below 1."""

    __pydantic_config__ = reading.STRICT

    path: str = "examples.json"
    tolerance: Annotated[float, Ge(0), Le(1)] = 1e-6


@dataclass(frozen=True, kw_only=True)
class Train:
    """How the weights are made: a script, what it needs beyond the model's requirements, seconds at most."""

    __pydantic_config__ = reading.STRICT

    script: str = "train.py"
    requirements: tuple[RequirementText, ...] = ()
    timeout_s: Seconds = 600.0


@dataclass(frozen=True, kw_only=True)
class Conda:
    """What conda calls things: channels, and names that differ from PyPI's."""

    __pydantic_config__ = reading.STRICT

    channels: tuple[Channel, ...] = ("conda-forge",)
    names: dict[str, CondaName] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What an instance may use; a model that needs more says so here."""

    __pydantic_config__ = reading.STRICT

    memory_mb: Annotated[int, Ge(16), Le(_MOST_MB)] = 2048
    processes: Annotated[int, Ge(1), Le(65_536)] = 256
    disk_mb: Annotated[int, Ge(1), Le(_MOST_MB)] = 8192
    start_timeout_s: Seconds = 120.0
    predict_timeout_s: Seconds = 60.0


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """What ``model.toml`` holds, key by key."""

    __pydantic_config__ = reading.STRICT

    spec_version: int
    name: Name
    version: str
    description: str
    framework: str
    family: Name = "unspecified"
    licence: str = ""
    entrypoint: str = "predictor.py"
    python: SpecifierText = ">=3.11"
    requirements: tuple[RequirementText, ...] = ()
    #: A folder of wheels that no index has: packages of one's own.
    wheels: str = ""
    #: Indexes besides the user's, and which packages come from each.
    index: tuple[Index, ...] = ()
    torch_backend: Literal["cpu"] | None = None
    system_packages: tuple[DebianPackage, ...] = ()
    conda: Conda = field(default_factory=Conda)
    artifacts: tuple[ArtifactFile, ...] = ()
    examples: ExamplesFile = field(default_factory=ExamplesFile)
    train: Train | None = None
    env: dict[str, str] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    prune: tuple[Prune, ...] = SAFE_PRUNE


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Inputs, and what the model must answer to each; same length, at least one."""

    __pydantic_config__ = reading.STRICT

    inputs: tuple[Json, ...]
    outputs: tuple[Json, ...]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model folder that was read and found whole."""

    folder: Path
    file: ModelFile
    examples: Examples

    @property
    def name(self) -> str:
        """The model's name, as it stands in results."""
        return self.file.name

    @property
    def digest(self) -> str:
        """A digest of what ``model.toml`` and the examples say; the files that travel have one of their own."""
        examples = {"inputs": self.examples.inputs, "outputs": self.examples.outputs}
        said = json.dumps([as_table(self.file), examples], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:24]


def as_table(file: ModelFile) -> dict[str, Any]:
    """The file as plain values, which digests are made of.

    A key that the first version did not have is left out where it is not used: the digests of other models stay.
    """
    table = asdict(file)
    if not file.index:
        del table["index"]
    return table


def read(folder: Path) -> Model:
    """The model in ``folder``; BadInput for the first thing wrong with it."""
    file = folder / "model.toml"
    if not os.path.isdir(folder):
        raise BadInput(
            "there is no such folder", file=folder, remedy="'harness models' lists the models; 'harness init' makes one"
        )
    remedy = f"'harness init {folder}' makes a model folder that runs as it is"
    table = reading.toml_table(file, remedy=remedy, below=folder)
    _check_version(table, file, SPEC_VERSION)
    contents = reading.record(ModelFile, table, file=file)
    indexes.check(contents.index, file)
    _check_env(contents.env, file)
    _check_files(folder, contents, file)
    return Model(folder=folder, file=contents, examples=_examples(folder, contents, file))


def find(name_or_path: str) -> Model:
    """The model called so in ``sample_models/``, the model folder at that path, or a generated one."""
    sample = paths.data("sample_models") / name_or_path
    if re.fullmatch(r"[a-z0-9-]+", name_or_path) and os.path.isfile(sample / "model.toml"):
        return read(sample)
    folder = Path(os.path.expanduser(name_or_path))
    if os.path.isdir(folder):
        return read(folder.resolve())
    if synthetic.is_name(name_or_path):
        return read(synthetic.folder(name_or_path))
    raise BadInput(
        f"no sample model and no folder is called '{name_or_path}'",
        remedy=reading.one_of(name_or_path, sample_names()) + ", or the path of a model folder ('harness init DIR')",
    )


def sample_names() -> list[str]:
    """The names of the models that travel with the harness."""
    folder = paths.data("sample_models")
    return sorted(path.parent.name for path in folder.glob("*/model.toml"))


def answers_match(expected: Json, got: Json, tolerance: float) -> bool:
    """Whether ``got`` is the expected answer: same shape, numbers within ``tolerance`` (relative, absolute below 1).

    Both are other people's values, so neither their depth nor their numbers are trusted: what is infinite matches
    nothing but itself, and what is no number nothing.
    """
    left = [(expected, got)]
    while left:
        one, other = left.pop()
        if isinstance(one, list | tuple):
            if not isinstance(other, list | tuple) or len(other) != len(one):
                return False
            left.extend(zip(one, other, strict=True))
        elif isinstance(one, dict):
            if not isinstance(other, dict) or other.keys() != one.keys():
                return False
            left.extend((value, other[key]) for key, value in one.items())
        elif not _same(one, other, tolerance):
            return False
    return True


def _same(expected: Json, got: Json, tolerance: float) -> bool:
    """The same of values that hold no others."""
    if isinstance(expected, bool) or isinstance(got, bool) or expected is None:
        return expected is got
    if isinstance(expected, int | float):
        return isinstance(got, int | float) and _close(expected, got, tolerance)
    return isinstance(got, str) and bool(expected == got)


def _close(expected: float, got: float, tolerance: float) -> bool:
    try:
        if math.isfinite(expected) and math.isfinite(got):
            return abs(got - expected) <= tolerance * max(1.0, abs(expected))
    except OverflowError:  # an integer beyond what a float can hold
        pass
    return got == expected


def _check_version(table: dict[str, Any], file: Path, ours: int) -> None:
    found = table.get("spec_version")
    if isinstance(found, int) and found > ours:
        raise BadInput(
            f"was written for a newer format than this harness reads ({ours})",
            file=file,
            key="spec_version",
            value=found,
            remedy="upgrade the harness",
        )
    if found is not None and found != ours:
        raise BadInput(f"must be {ours}", file=file, key="spec_version", value=found, remedy=f"spec_version = {ours}")


def _check_env(env: Mapping[str, str], file: Path) -> None:
    """BadInput for what the system cannot give a process: see environ(7)."""
    for name, value in env.items():
        problem = ""
        if not name or "=" in name or "\0" in name:
            problem = "is not the name of an environment variable: it is empty, or has '=' or a zero byte in it"
        elif "\0" in value:
            problem = "has a zero byte, which no environment variable can hold"
        if problem:
            raise BadInput(problem, file=file, key=f"env.{name}", value=value, remedy="correct or remove this line")


def _check_files(folder: Path, contents: ModelFile, file: Path) -> None:
    entrypoint = reading.inside(folder, contents.entrypoint, file=file, key="entrypoint")
    if not _is_there(entrypoint, folder) or entrypoint.suffix != ".py":
        raise BadInput(
            "is not a Python file of the model's folder",
            file=file,
            key="entrypoint",
            value=contents.entrypoint,
            remedy="name the file that has load(model_dir) and predict(model, inputs)",
        )
    if contents.wheels and not _has_wheels(reading.inside(folder, contents.wheels, file=file, key="wheels"), folder):
        raise BadInput(
            "is not a folder with wheels in it",
            file=file,
            key="wheels",
            value=contents.wheels,
            remedy="put the wheels of your own packages there ('pip wheel --no-deps'), or leave the key out",
        )
    script = None
    if contents.train is not None:
        script = reading.inside(folder, contents.train.script, file=file, key="train.script")
        if not _is_there(script, folder):
            raise BadInput(
                "is not there", file=file, key="train.script", value=contents.train.script, remedy="add the script"
            )
    for index, artifact in enumerate(contents.artifacts):
        key = f"artifacts.{index}.path"
        weights = reading.inside(folder, artifact.path, file=file, key=key)
        if weights == folder:
            raise BadInput(
                "is the model's own folder",
                file=file,
                key=key,
                value=artifact.path,
                remedy="name the folder in it that holds the weights alone",
            )
        if not artifact.present(folder) and script is None:
            raise BadInput(
                "is not there, and no [train] script makes it",
                file=file,
                key=key,
                value=artifact.path,
                remedy=f"add the {'folder' if artifact.is_folder else 'file'}, or a [train] table",
            )
        if artifact.verify == "sha256" and artifact.sha256 is None:
            raise BadInput(
                "is missing",
                file=file,
                key=f"artifacts.{index}.sha256",
                remedy='add the sha256, or verify = "outputs" where training is not bit-reproducible',
            )
    names = [canonicalize_name(Requirement(text).name) for text in contents.requirements]
    for name in names:
        if names.count(name) > 1:
            raise BadInput("is given twice", file=file, key="requirements", value=name, remedy="keep one of the lines")


def _is_there(place: Path, folder: Path) -> bool:
    """Whether there is such a file; BadInput where it is a link, a pipe or the like."""
    return files.kind(place) is not None and bool(files.check_regular(place, below=folder))


def _has_wheels(place: Path, folder: Path) -> bool:
    if files.kind(place) in {None, "file"}:
        return False
    wheels = [one for one in files.walk(place, below=folder) if one.path.suffix == ".whl" and one.path.parent == place]
    for wheel in wheels:
        files.check_kind(wheel.status.st_mode, wheel.path)
    return bool(wheels)


def _examples(folder: Path, contents: ModelFile, file: Path) -> Examples:
    path = reading.inside(folder, contents.examples.path, file=file, key="examples.path")
    remedy = 'give a file with {"inputs": [...], "outputs": [...]}: what the model is asked, and what it must answer'
    value = reading.json_value(path, remedy=remedy, below=folder)
    if not isinstance(value, dict):
        raise BadInput("is not an object", file=path, value=type(value).__name__, remedy=remedy)
    # The values are checked already; a copy of them may be large.
    reading.record(Examples, {key: [] if isinstance(one, list) else one for key, one in value.items()}, file=path)
    examples = Examples(inputs=tuple(value["inputs"]), outputs=tuple(value["outputs"]))
    if not examples.inputs or len(examples.inputs) != len(examples.outputs):
        raise BadInput(
            f"has {len(examples.inputs)} inputs and {len(examples.outputs)} outputs",
            file=path,
            key="outputs",
            remedy="give at least one input, and one output for each",
        )
    return examples
