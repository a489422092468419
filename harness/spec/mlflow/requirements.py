"""What an MLflow model needs, from the files that MLflow wrote beside it.

The first there is counts: ``requirements.txt`` (since 1.13 or so), the ``pip`` list of ``conda.yaml``, the
``dependencies`` of ``python_env.yaml`` (since 2.0, where they mostly say ``-r requirements.txt``), and the closure of
``uv.lock`` (3.x, where a uv project was logged). ``constraints.txt`` and ``uv.lock`` narrow what the list leaves open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from harness import files
from harness.errors import BadInput
from harness.interpreter import Interpreter
from harness.spec import reading
from harness.spec.mlflow import safe_yaml
from harness.spec.model import check_numbers

#: The largest list of requirements, and the largest ``uv.lock``, that are read: 200 packages of a lock are 1 MiB.
_MAX_BYTES, _MAX_LOCK_BYTES = 2**20, 16 * 2**20
_REMEDY = "correct the line; every package has to be one that an index has as a wheel"
_ENTRY = re.compile(r"^([A-Za-z0-9._-]+)\s*(==|=|>=|<=|>|<|!=)?\s*([^\s=]+)?(?:=\S+)?$")
#: conda's names for what PyPI calls otherwise; and what it lists that is no package of PyPI's, or brings one here.
_PYPI_NAMES = {"pytorch": "torch", "pytorch-cpu": "torch", "py-xgboost": "xgboost", "py-xgboost-cpu": "xgboost"}
_NOT_PACKAGES = {"python", "pip"}
#: Options of a requirements file that say where packages come from: here the user's own configuration does.
_INDEX_OPTIONS = ("-i", "--index-url", "--extra-index-url", "--find-links", "-f", "--trusted-host", "--no-index")


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a model needs: ``requirements`` by canonical name, from ``source``; ``python`` that it was logged under.

    ``notes`` say what was left out; ``pins`` are versions that ``uv.lock`` has of packages that nothing here names.
    """

    requirements: Mapping[str, Requirement]
    source: Path
    python: str | None
    notes: tuple[str, ...]
    pins: Mapping[str, str]

    def texts(self, *, without: Iterable[str] = (), more: Iterable[str] = ()) -> tuple[str, ...]:
        """The requirements as texts, sorted; ``more`` where a package is not named yet."""
        kept = {name: one for name, one in self.requirements.items() if name not in set(without)}
        for text in more:
            one = Requirement(text)
            name = str(canonicalize_name(one.name))
            if not one.specifier and name in self.pins:
                one.specifier = SpecifierSet(f"=={self.pins[name]}")
            kept.setdefault(name, one)
        return tuple(str(kept[name]) for name in sorted(kept))


def read(folder: Path, python: Interpreter) -> Needs:
    """What the model in ``folder`` needs, for this interpreter. BadInput where a file is wrong, or none is there."""
    conda = _table(folder / "conda.yaml")
    virtual = _table(folder / "python_env.yaml")
    locked = _locked(folder / "uv.lock", python)
    notes: list[str] = []
    source, lines = _lines(folder, conda, virtual, locked)
    found: dict[str, Requirement] = {}
    for line in lines:
        one = _requirement(line, source, notes)
        if one is not None:
            _add(found, one, source)
    for one in _constraints(folder / "constraints.txt", notes):
        if canonicalize_name(one.name) in found:
            _narrow(found[canonicalize_name(one.name)], one.specifier, folder / "constraints.txt")
    for name, version in locked.versions.items():
        # A version that the list rules out is not of the same resolution: the list was edited since, and counts.
        if name in found and version in found[name].specifier and not _exact(found[name]):
            found[name].specifier = SpecifierSet(f"=={version}")
    return Needs(
        requirements=found,
        source=source,
        python=_python(folder, conda, virtual),
        notes=tuple(notes),
        pins={name: version for name, version in locked.versions.items() if name not in found},
    )


def _lines(
    folder: Path, conda: Mapping[str, Any], virtual: Mapping[str, Any], locked: _Locked
) -> tuple[Path, list[str]]:
    """The file that says what is needed, and its lines."""
    plain = folder / "requirements.txt"
    if files.kind(plain):
        return plain, _file_lines(plain)
    if conda:
        return folder / "conda.yaml", _conda_lines(conda, folder / "conda.yaml")
    file = folder / "python_env.yaml"
    given = virtual.get("dependencies") or []
    if not isinstance(given, list):
        raise BadInput("is not a list", file=file, key="dependencies", value=given, remedy="give a list of texts")
    own = [_text(entry, file, "dependencies") for entry in given]
    if any(not re.match(r"(-r|--requirement)\b", line) for line in own):
        return file, own
    if locked.direct:
        return folder / "uv.lock", [f"{name}=={locked.versions[name]}" for name in locked.direct]
    raise BadInput(
        "has no requirements.txt, conda.yaml, python_env.yaml or uv.lock that says what the model needs",
        file=folder,
        remedy="add a requirements.txt to it",
    )


def _table(file: Path) -> dict[str, Any]:
    return safe_yaml.table(file, remedy="it has to be as MLflow wrote it") if files.kind(file) else {}


def _file_lines(file: Path) -> list[str]:
    text = files.read_text(file, at_most=_MAX_BYTES)
    return re.sub(r"\\\r?\n", " ", text).splitlines()


def _conda_lines(conda: Mapping[str, Any], file: Path) -> list[str]:
    """The ``pip`` list, and what conda itself would install, by PyPI's names. Before 1.13 scikit-learn stood there."""
    found: list[str] = []
    entries = conda.get("dependencies") or []
    if not isinstance(entries, list):
        raise BadInput("is not a list", file=file, key="dependencies", value=entries, remedy="give a list")
    for entry in entries:
        if isinstance(entry, dict) and list(entry) == ["pip"] and isinstance(entry["pip"], list):
            found += [_text(line, file, "dependencies.pip") for line in entry["pip"]]
            continue
        text = _text(entry, file, "dependencies").rpartition("::")[2]
        match = _ENTRY.match(text)
        if match is None:
            raise BadInput("is not a package", file=file, key="dependencies", value=text, remedy=_REMEDY)
        name, version = match[1], match[3] or ""
        operator = match[2] or ("=" if version else "")
        if name in _NOT_PACKAGES:
            continue
        name = _PYPI_NAMES.get(name, name)
        if operator == "=":  # of conda's: any 1.2.x for "1.2"
            operator, version = "==", f"{version.removesuffix('*').removesuffix('.')}.*"
        found.append(f"{name}{operator}{version}")
    return found


def _python(folder: Path, conda: Mapping[str, Any], virtual: Mapping[str, Any]) -> str | None:
    """The Python that it was logged under, as ``3.9.18``."""
    told = virtual.get("python")
    if told is not None and not isinstance(told, str):  # 3.10 without quotes is 3.1
        file = folder / "python_env.yaml"
        raise BadInput("is not a text", file=file, key="python", value=told, remedy="put it in quotes")
    if told:
        return told
    for entry in conda.get("dependencies") or []:
        match = re.match(r"python\s*[=<>]+\s*([0-9.]+)", entry) if isinstance(entry, str) else None
        if match is not None:
            return match[1]
    return None


def _requirement(line: str, source: Path, notes: list[str]) -> Requirement | None:
    """A line as a requirement; None for what is none. BadInput for what no index has."""
    text = re.sub(r"(^|\s)#.*$", "", line).split(" --hash", 1)[0].strip()
    if not text or re.match(r"(-c|--constraint)\b", text):
        return None
    if text.startswith(_INDEX_OPTIONS):
        option = text.split()[0].split("=")[0]
        notes.append(f"{source.name}: '{option}' is left out: packages come from the indexes that you have configured")
        return None
    if text in {"--pre", "--prefer-binary"} or text.startswith(("--only-binary", "--no-binary")):
        notes.append(f"{source.name}: '{text}' is left out: only wheels are taken, and no pre-releases by default")
        return None
    try:
        check_numbers(text)
        one = Requirement(text)
    except (ValueError, RecursionError) as error:  # InvalidRequirement is a ValueError
        raise BadInput(
            f"is not a requirement by name: {error}".splitlines()[0], file=source, value=text, remedy=_REMEDY
        ) from None
    if one.url:
        raise BadInput("is a requirement by URL or path", file=source, value=text, remedy=_REMEDY)
    return one


def _add(found: dict[str, Requirement], one: Requirement, source: Path) -> None:
    name = str(canonicalize_name(one.name))
    if one.marker is not None and not one.marker.evaluate():
        return  # for another system; a universal export of uv has such lines
    one.marker = None
    if name in found:
        found[name].extras |= one.extras
        _narrow(found[name], one.specifier, source)
    else:
        found[name] = one


def _narrow(one: Requirement, specifier: SpecifierSet, source: Path) -> None:
    both = one.specifier & specifier
    exact = {str(part.version) for part in both if part.operator in {"==", "==="} and "*" not in part.version}
    if len(exact) > 1:
        raise BadInput("is pinned to two versions", file=source, value=f"{one.name}{both}", remedy="keep one of them")
    one.specifier = both


def _exact(one: Requirement) -> bool:
    return any(part.operator in {"==", "==="} and "*" not in part.version for part in one.specifier)


def _constraints(file: Path, notes: list[str]) -> list[Requirement]:
    if files.kind(file) is None:
        return []
    return [one for line in _file_lines(file) if (one := _requirement(line, file, notes)) is not None]


def _text(value: Any, file: Path, key: str) -> str:
    if isinstance(value, str) and value:
        return value
    raise BadInput("is not a text", file=file, key=key, value=value, remedy=_REMEDY)


# --- uv.lock -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Locked:
    """``versions`` of what this system needs of ``uv.lock``, by name; ``direct`` are what the project itself names."""

    versions: Mapping[str, str]
    direct: tuple[str, ...]


def _locked(file: Path, python: Interpreter) -> _Locked:
    """What the project in ``uv.lock`` needs here, without its groups for development and its extras.

    The format: https://docs.astral.sh/uv/concepts/resolution/#lockfile-versioning (version 1, read 2026-11-23). The
    project is the package whose source is ``virtual`` or ``editable``.
    """
    if files.kind(file) is None:
        return _Locked(versions={}, direct=())
    table = reading.toml_table(file, remedy="it has to be as uv wrote it", at_most=_MAX_LOCK_BYTES)
    packages = table.get("package", [])
    if not isinstance(packages, list) or not all(isinstance(one, dict) for one in packages):
        raise BadInput("is not a list of packages", file=file, key="package", remedy="it has to be as uv wrote it")
    known: dict[str, list[dict[str, Any]]] = {}
    for one in packages:
        known.setdefault(_text(one.get("name"), file, "package.name"), []).append(one)
    projects = [one for one in packages if {"virtual", "editable"} & set(_table_in(one, "source", file))]
    direct = tuple(_needed(projects[:1], file, python))
    versions: dict[str, str] = {}
    waiting = list(direct)
    while waiting:
        name = waiting.pop()
        if name in versions or len(known.get(name, [])) != 1:
            continue  # of several versions each holds for some systems: uv resolves it anew
        versions[name] = _version(known[name][0].get("version"), file, f"package.{name}.version")
        waiting += _needed(known[name], file, python)
    return _Locked(versions=versions, direct=tuple(name for name in direct if name in versions))


def _table_in(package: Mapping[str, Any], key: str, file: Path) -> Mapping[str, Any]:
    found = package.get(key) or {}
    if not isinstance(found, dict):
        raise BadInput("is not a table", file=file, key=f"package.{key}", value=found, remedy="lock it again")
    return found


def _version(value: object, file: Path, key: str) -> str:
    text = _text(value, file, key)
    try:
        check_numbers(text)
        Version(text)
    except ValueError:
        raise BadInput("is not a version", file=file, key=key, value=text, remedy="lock it again") from None
    return text


def _needed(packages: Sequence[Mapping[str, Any]], file: Path, python: Interpreter) -> list[str]:
    """The names that these packages depend on here."""
    environment = {str(key): str(value) for key, value in default_environment().items()}
    environment |= {"python_version": python.minor, "python_full_version": python.version, "extra": ""}
    found = []
    for package in packages:
        dependencies = package.get("dependencies") or []
        if not isinstance(dependencies, list):
            raise BadInput(
                "is not a list", file=file, key="package.dependencies", value=dependencies, remedy="lock it again"
            )
        for entry in dependencies:
            name = _text(entry.get("name") if isinstance(entry, dict) else None, file, "package.dependencies")
            marker = entry.get("marker")
            try:
                if marker is None or Marker(str(marker)).evaluate(environment):
                    found.append(name)
            except (ValueError, RecursionError):  # what packaging raises is a ValueError
                raise BadInput("is not a marker", file=file, key=name, value=marker, remedy="lock it again") from None
    return found
