"""How an environment is made; that it works is seen in tests/real."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import files, process, tools
from harness.errors import BuildFailure
from harness.spec import environments, weights
from harness.spec.locked import Lock


@pytest.fixture
def lock(folder: Any, here: object) -> Lock:
    """One that holds a package."""
    return replace(weights.locked(folder.read()).lock, packages=(("numpy", "2.0.0"),))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, open_door: object) -> dict[str, Any]:
    """What was run, and what each ends with."""
    known: dict[str, Any] = {"argv": [], "codes": {}, "said": ""}

    def run(argv: list[str], **how: Any) -> process.Completed:
        known["argv"].append(argv)
        assert how["policy"].bounds == tools.BOUNDS
        if argv[1] == "venv":
            (Path(argv[-1]) / "lib").mkdir(parents=True)
        code = known["codes"].get(argv[3] if "compileall" in argv else argv[1], 0)
        return process.Completed(argv=tuple(argv), returncode=code, stdout="said", stderr=known["said"], wall_s=0.1)

    monkeypatch.setattr(process, "run", run)
    return known


def install(lock: Lock, folder: Path, bytecode: str = "unchecked-hash") -> None:
    """As a method does."""
    cache = folder / "cache"
    cache.mkdir(exist_ok=True)
    files.remove(folder / "made")
    environments.install(lock, folder / "made", cache=cache, bytecode=bytecode, timeout_s=10)


def test_it_is_made_filled_and_compiled(lock: Lock, ran: dict[str, Any], tmp_path: Path) -> None:
    """Offline, by hash; bytecode does not say where the environment was made, so that it is the same everywhere."""
    install(lock, tmp_path)
    make, fill, compiling = ran["argv"]
    assert make[1:2] == ["venv"]
    assert {"--no-index", "--require-hashes", "--no-build"} <= set(fill)
    assert "--compile-bytecode" not in fill
    assert compiling[1:4] == ["-I", "-m", "compileall"]
    place = tmp_path / "cache" / "made" / "made"
    assert compiling[-3:] == ["-s", str(place), str(place / "lib")]
    assert (tmp_path / "made" / "lib").is_dir()
    assert not place.exists()
    assert compiling[compiling.index("--invalidation-mode") + 1] == "unchecked-hash"


def test_nothing_is_compiled_that_is_not_asked_for_or_not_there(
    lock: Lock, ran: dict[str, Any], tmp_path: Path
) -> None:
    install(lock, tmp_path, bytecode="none")
    assert [argv[1] for argv in ran["argv"]] == ["venv", "pip"]
    ran["argv"].clear()
    install(replace(lock, packages=()), tmp_path)
    assert [argv[1] for argv in ran["argv"]] == ["venv"]


def test_a_refusal_of_uv_is_a_build_failure_a_file_that_no_python_reads_is_none(
    lock: Lock, ran: dict[str, Any], tmp_path: Path
) -> None:
    """Packages carry files for other Pythons."""
    ran["codes"] = {"compileall": 1}
    install(lock, tmp_path)
    ran["codes"] = {"pip": 1}
    with pytest.raises(BuildFailure, match="making the environment: uv ended with exit code 1"):
        install(lock, tmp_path)
    ran["codes"], ran["said"] = {"compileall": 1}, "concurrent.futures.process.BrokenProcessPool: terminated"
    with pytest.raises(BuildFailure, match="too much memory"):
        install(lock, tmp_path)
    assert not (tmp_path / "made").exists()


def test_a_link_among_packages_is_a_build_failure(
    lock: Lock, ran: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The harness writes the model's files beside them."""
    inner = process.run

    def run(argv: list[str], **how: Any) -> process.Completed:
        done = inner(argv, **how)
        if argv[1] == "venv":
            (Path(argv[-1]) / "lib" / "python3.11").symlink_to("/etc")
        return done

    monkeypatch.setattr(process, "run", run)
    with pytest.raises(BuildFailure, match=r"python3\.11 in the environment is a link"):
        install(lock, tmp_path)
