"""Which Python a model runs under: its ``python`` in ``model.toml`` chooses.

The first that suits, of: the one that all models share (:func:`harness.interpreter.default`), the further ones that
``HARNESS_PYTHON`` names, those that uv finds, those of pyenv, and one that uv fetches, where uv may fetch any
(``UV_PYTHON_DOWNLOADS``). Of several that were only found, one of a version that Debian's base images have goes first,
so that images run the same one; then the newest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from packaging.specifiers import SpecifierSet

from harness import interpreter, paths, process, settings, tools
from harness.errors import BadInput, MissingComponent
from harness.interpreter import Interpreter
from harness.spec.model import Model

_LIST_S, _FETCH_S = 60.0, 600.0
#: Versions that are asked of a specifier: minor ones that may come, patches that they may have.
_MINORS, _PATCHES = range(interpreter.OLDEST[1], 30), range(40)


def of(model: Model) -> Interpreter:
    """The interpreter for the model; BadInput where none that suits is here, or can be fetched."""
    return _suiting(model.file.python, model.folder / "model.toml")


def lowest(specifier: str) -> str:
    """The lowest version (``3.9``) that ``specifier`` allows and the runner can do with; the oldest where none is."""
    return next(_minors(specifier), ".".join(map(str, interpreter.OLDEST)))


def _minors(specifier: str) -> Iterator[str]:
    """The versions that ``specifier`` allows some patch of, from the oldest on that the runner can do with."""
    allowed = SpecifierSet(specifier)
    for minor in _MINORS:
        if any(f"3.{minor}.{patch}" in allowed for patch in _PATCHES):
            yield f"3.{minor}"


def _suiting(specifier: str, file: Path) -> Interpreter:
    allowed, own = SpecifierSet(specifier), interpreter.default()
    if own.version in allowed:
        return own
    for found in (*_named(), *others()):
        if found.version in allowed:
            return found
    fetched, why = _fetched(specifier)
    if fetched is not None and fetched.version in allowed:
        return fetched
    there = sorted({one.version for one in (*_named(), *others())})
    raise BadInput(
        f"no Python that suits is here: models run under {own.version} ({own.path})"
        + (f"; there are also {', '.join(there)}" if there else "")
        + f". uv fetched none: {why}",
        file=file,
        key="python",
        value=specifier,
        remedy="install one that suits and name it in HARNESS_PYTHON (several are parted by ':'), or widen 'python'",
    )


def _named() -> Iterator[Interpreter]:
    """Those that ``HARNESS_PYTHON`` names besides the first."""
    for given in interpreter.named()[1:]:
        yield interpreter.described(given)


@lru_cache(maxsize=1)
def others() -> tuple[Interpreter, ...]:
    """What uv finds on this machine, and pyenv's: one of each version, those to take first at the front."""
    by_version: dict[str, Interpreter] = {}
    for path in sorted({path.resolve() for path in (*_of_uv(), *_of_pyenv())}, key=_is_not_the_systems):
        try:
            python = interpreter.described(path)
        except MissingComponent:
            continue  # too old, or broken
        # No virtual environment, and no script that starts a Python which lies elsewhere.
        if len(set(python.prefixes)) == 1 and path.is_relative_to(python.prefixes[0]):
            by_version.setdefault(python.version, python)
    return tuple(sorted(by_version.values(), key=_preference, reverse=True))


def _preference(python: Interpreter) -> tuple[bool, tuple[int, ...]]:
    numbers = tuple(int(part) for part in python.version.split(".") if part.isdigit())
    return python.minor in interpreter.DEBIAN, numbers


def _is_not_the_systems(path: Path) -> tuple[bool, str]:
    return not path.is_relative_to("/usr/bin"), str(path)


def _of_uv() -> Iterator[Path]:
    argv = [str(tools.uv()), "python", "list", "--only-installed", "--output-format", "json"]
    env = process.network_environment(paths.cache(), UV_OFFLINE="1", PATH=os.environ.get("PATH", ""))
    try:
        done = process.run(argv, env=env, timeout_s=_LIST_S)
        table = json.loads(done.stdout)
        yield from (Path(one["path"]) for one in table if one["implementation"] == "cpython" and one["path"])
    except (process.TimedOut, MissingComponent, ValueError, TypeError, KeyError):
        return  # a shim that does not work ends uv's list; what is named or pyenv's remains


def _of_pyenv() -> Iterator[Path]:
    """Pyenv's versions: its shims, which uv finds, start none but those that are switched on."""
    root = settings.folder("PYENV_ROOT") or Path(os.path.expanduser("~/.pyenv"))
    with_versions = root / "versions"
    if os.path.isdir(with_versions):
        names = sorted(os.listdir(with_versions))
        yield from (python for name in names if (python := with_versions / name / "bin" / "python3").is_file())


@lru_cache(maxsize=8)
def _fetched(specifier: str) -> tuple[Interpreter | None, str]:
    """One that uv fetches into the cache, or why there is none."""
    if next(_minors(specifier), None) is None:
        return None, f"no Python from {lowest('')} on is one of these"
    if os.environ.get("UV_PYTHON_DOWNLOADS", "automatic") != "automatic" or os.environ.get("UV_OFFLINE"):
        return None, "it is told not to (UV_PYTHON_DOWNLOADS, UV_OFFLINE)"
    place = paths.cache() / "pythons"
    argv = [str(tools.uv()), "python", "install", "--no-bin", "--install-dir", str(place), specifier]
    try:
        with process.ledger.waiting_for("tools"), tools.full_disk_named():
            env = process.network_environment(paths.cache(), UV_HTTP_RETRIES="1")
            done = process.run(argv, env=env, timeout_s=_FETCH_S)
    except process.TimedOut as error:
        return None, error.problem
    if done.returncode != 0:
        lines = [line.strip() for line in done.output.splitlines() if line.strip()]
        return None, lines[-1].removeprefix("cause: ") if lines else f"it ended with exit code {done.returncode}"
    for python in sorted(place.glob("cpython-*/bin/python3")):
        found = interpreter.described(python.resolve())
        if found.version in SpecifierSet(specifier):
            return found, ""
    return None, f"it left none in {place}"
