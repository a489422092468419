"""Locks: how they are read, and when one is refused. Nothing is resolved or downloaded here."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import paths, process, tools, tree
from harness.errors import BadInput, BuildFailure
from harness.spec import building, pins, resolving, wheelhouse
from harness.spec import lock as locks
from harness.spec.building import Built
from harness.spec.indexes import Index
from harness.spec.locked import Source
from harness.spec.pins import Pin
from harness.spec.resolving import Question

A, B = "a" * 64, "b" * 64


class Ended:
    """A process that ended."""

    def __init__(self, *, returncode: int = 0, stdout: str = "", stderr: str = "") -> None:
        self.returncode, self.stdout, self.stderr, self.output, self.wall_s = returncode, stdout, stderr, stderr, 0.5


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would have been run; each ends well and says nothing."""
    commands: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> Ended:
        commands.append(argv)
        return Ended()

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(tools, "executable", lambda tool, name=None: Path("/tools") / (name or tool))
    resolving.find_links.cache_clear()
    return commands


@pytest.fixture
def wheel(wheel_file: Any) -> Callable[..., tuple[Path, str]]:
    """Makes a wheel, and tells its digest."""

    def make(folder: Path, name: str, **contents: str) -> tuple[Path, str]:
        file = wheel_file(folder / name, contents)
        return file, tree.sha256(file)

    return make


@pytest.mark.usefixtures("here", "ran")
def test_a_model_without_requirements_has_an_empty_lock(folder: Any) -> None:
    """Nothing is resolved or downloaded where nothing is required."""
    found = locks.lock(folder.read())
    assert found.packages == ()
    assert found.wheel_bytes == 0
    assert found.download_s is None
    assert list(found.wheels.iterdir()) == []
    assert found.digest == tree.sha256(found.requirements)
    assert locks.lock(folder.read()) == found


@pytest.mark.usefixtures("here", "ran")
@pytest.mark.parametrize("header", ["", "# locked for: 0\n", f"# locked for: {'0' * 64}\n"])
def test_a_lock_made_for_other_requirements_is_refused(folder: Any, header: str) -> None:
    """A requirements.lock that does not belong to model.toml's requirements is named, with the remedy."""
    (folder.path / "requirements.lock").write_text(header)
    with pytest.raises(BadInput) as raised:
        locks.lock(folder.read())
    assert str(folder.path / "requirements.lock") in raised.value.problem
    assert "locked for" in raised.value.problem
    assert f"harness lock {folder.path}" in raised.value.remedy


@pytest.mark.usefixtures("here", "ran")
def test_of_a_lock_that_fits_the_pins_are_used(folder: Any) -> None:
    """The order of the requirements does not matter, their text does. What installers get is written anew."""
    folder.write(requirements=["numpy==2.0.0; sys_platform == 'none'", "abc==1; sys_platform == 'none'"])
    lines = ["abc==1; sys_platform == 'none'", "numpy==2.0.0; sys_platform == 'none'"]
    text = pins.header(lines) + "".join(f"{line} --hash=sha256:{A}\n" for line in lines)
    (folder.path / "requirements.lock").write_text(text + "# a comment\n")
    found = locks.lock(folder.read())
    expected = [line.replace("==1;", "==1 ;").replace("0;", "0 ;") for line in lines]
    assert found.requirements.read_text() == pins.header(lines) + "".join(
        f"{line} \\\n    --hash=sha256:{A}\n" for line in expected
    )
    assert found.packages == ()


@pytest.mark.usefixtures("here")
def test_wheels_come_from_the_wheelhouse_where_they_are_there(folder: Any, ran: list[list[str]], wheel: Any) -> None:
    """A wheel that was downloaded once is linked, not downloaded again."""
    file, digest = wheel(folder.path.parent, "tool-1.0-py3-none-any.whl")
    place = paths.cache() / "wheelhouse" / digest
    place.mkdir(parents=True)
    file.rename(place / file.name)
    folder.write(requirements=["tool==1.0"])
    (folder.path / "requirements.lock").write_text(f"{pins.header(['tool==1.0'])}tool==1.0 --hash=sha256:{digest}\n")
    found = locks.lock(folder.read())
    assert found.packages == (("tool", "1.0"),)
    assert found.download_s is None
    assert (found.wheels / file.name).samefile(place / file.name)
    assert found.wheel_bytes == (place / file.name).stat().st_size
    assert ran == []


@pytest.mark.usefixtures("here")
def test_a_models_own_wheels_need_no_index(
    folder: Any, ran: list[list[str]], wheel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are resolved from, kept in the wheelhouse, and another file of the same name makes another lock."""
    (folder.path / "wheels").mkdir()
    file, digest = wheel(folder.path / "wheels", "own-1.0-py3-none-any.whl")
    folder.write(requirements=["own==1.0"], wheels="wheels")
    said: dict[str, Any] = {"digest": digest}

    def run(argv: list[str], **_: Any) -> Ended:
        ran.append(argv)
        if "compile" in argv:
            found = Path(argv[argv.index("--find-links") + 1])
            said["lay there"] = (found / "own-1.0-py3-none-any.whl").stat().st_mode & 0o777
        return Ended(stdout=f"own==1.0 --hash=sha256:{said['digest']}\n" if "compile" in argv else "")

    monkeypatch.setattr(process, "run", run)
    found = locks.lock(folder.read())
    assert found.packages == (("own", "1.0"),)
    assert found.download_s is None
    assert (paths.cache() / "wheelhouse" / digest / file.name).read_bytes() == file.read_bytes()
    (resolving,) = [argv for argv in ran if "compile" in argv]
    assert str(folder.path) not in str(resolving)
    assert said["lay there"] == 0o644
    _, said["digest"] = wheel(folder.path / "wheels", file.name, other="changed")
    assert locks.lock(folder.read()).requirements != found.requirements


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("given", ["wheels", "predictor.py", "../elsewhere"])
def test_a_folder_without_wheels_is_bad_input(folder: Any, given: str) -> None:
    """One that is not there, is no folder, or lies outside is named, with the key."""
    folder.write(wheels=given)
    with pytest.raises(BadInput) as raised:
        folder.read()
    assert f"key 'wheels' = '{given}'" in raised.value.problem


@pytest.mark.usefixtures("here")
def test_what_lacks_is_downloaded_with_hashes_and_kept_by_its_digest(
    folder: Any, wheel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip is told the hashes, takes wheels only, and each wheel lands under the digest of its contents."""
    digests: list[str] = []
    commands: list[str] = []

    def download(argv: list[str], **_: Any) -> Ended:
        commands.append(" ".join(argv))
        target = Path(argv[argv.index("--dest") + 1])
        target.mkdir()
        digests.append(wheel(target, "tool-1.0-py3-none-any.whl")[1])
        return Ended()

    monkeypatch.setattr(process, "run", download)
    monkeypatch.setattr(tools, "executable", lambda tool: Path("/tools") / tool)
    _, digest = wheel(folder.path.parent, "tool-1.0-py3-none-any.whl")
    folder.write(requirements=["tool==1.0"])
    index = "https://download.pytorch.org/whl/cpu"
    folder.write(torch_backend="cpu")
    text = f"{pins.header(['tool==1.0'])}tool==1.0 --hash=sha256:{digest}\n    # from {index}\n"
    (folder.path / "requirements.lock").write_text(text)
    found = locks.lock(folder.read())
    assert digests == [digest]
    assert found.download_s == 0.5
    assert found.packages == (("tool", "1.0"),)
    for option in ("--require-hashes", "--only-binary :all:", f"--extra-index-url {index}"):
        assert option in commands[0]


@pytest.mark.usefixtures("here")
def test_a_download_that_fails_is_a_build_failure(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip said stands in the message."""
    monkeypatch.setattr(process, "run", lambda *_, **__: Ended(returncode=1, stderr="No matching distribution"))
    monkeypatch.setattr(tools, "executable", lambda tool: Path("/tools") / tool)
    folder.write(requirements=["tool==1.0"])
    (folder.path / "requirements.lock").write_text(f"{pins.header(['tool==1.0'])}tool==1.0 --hash=sha256:{A}\n")
    with pytest.raises(BuildFailure, match="No matching distribution") as raised:
        locks.lock(folder.read())
    assert "find-links" in raised.value.remedy


@pytest.mark.usefixtures("here")
def test_a_requirement_that_cannot_be_resolved_is_bad_input(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What uv said, the file, the key and the requirements stand in the message."""
    monkeypatch.setattr(process, "run", lambda *_, **__: Ended(returncode=1, stderr="no version of nonesuch"))
    monkeypatch.setattr(resolving, "find_links", lambda: ("/wheels",))
    folder.write(requirements=["nonesuch==1.0"])
    with pytest.raises(BadInput) as raised:
        locks.lock(folder.read())
    text = str(raised.value)
    for part in (str(folder.path / "model.toml"), "key 'requirements' = ['nonesuch==1.0']", "no version of nonesuch"):
        assert part in text
    assert "UV_DEFAULT_INDEX" in raised.value.remedy


def test_folders_of_wheels_come_from_pips_configuration(
    ran: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only folders that are there count, each once."""
    told = f"global.find-links='{tmp_path} {tmp_path} /nonexistent'\nglobal.index-url='https://x.org'\n"
    monkeypatch.setattr(process, "run", lambda *_, **__: Ended(stdout=told))
    assert resolving.find_links() == (str(tmp_path),)
    resolving.find_links.cache_clear()


@pytest.mark.usefixtures("here", "ran")
@pytest.mark.parametrize("damage", [b"\xff\n", b"tool = 1\n"])
def test_a_damaged_lock_is_bad_input(folder: Any, damage: bytes) -> None:
    """A requirements.lock that is not UTF-8, or has a line that is no requirement, is named."""
    (folder.path / "requirements.lock").write_bytes(pins.header([]).encode() + damage)
    with pytest.raises(BadInput) as raised:
        locks.lock(folder.read())
    assert "requirements.lock" in str(raised.value)


@pytest.mark.usefixtures("here", "ran")
@pytest.mark.parametrize("kind", ["secret", "pipe", "folder", "damaged", "not a name", "leaves"])
def test_a_wheel_in_a_model_is_a_sound_file(folder: Any, wheel_file: Any, tmp_path: Path, kind: str) -> None:
    """Nothing of it gets into the wheelhouse otherwise."""
    secret = tmp_path / "secret"
    secret.write_text("root:x")
    file = folder.wheel("own-1.0-py3-none-any.whl")
    file.unlink()
    if kind == "secret":
        file.symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "damaged":
        file.write_text("PK")
    elif kind == "not a name":
        file.with_name("own.whl").write_text("PK")
    else:
        wheel_file(file, {"../../x": "x"})
    with pytest.raises(BadInput, match=r"wheel|link|pipe|folder"):
        locks.lock(folder.read())
    assert [place for place in (paths.cache() / "wheelhouse").rglob("*") if place.is_file()] == []


@pytest.mark.usefixtures("here", "ran")
def test_a_downloaded_wheel_is_looked_at_once(folder: Any, wheel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash only says that it is the one that was locked."""
    file, digest = wheel(folder.path.parent, "tool-1.0-py3-none-any.whl", **{"tool-1.0.data/data/bin/python": ""})
    place = paths.cache() / "wheelhouse" / digest
    place.mkdir(parents=True)
    file.rename(place / file.name)
    folder.write(requirements=["tool==1.0"])
    (folder.path / "requirements.lock").write_text(f"{pins.header(['tool==1.0'])}tool==1.0 --hash=sha256:{digest}\n")
    with pytest.raises(BuildFailure, match="would replace a part of the environment"):
        locks.lock(folder.read())
    monkeypatch.setattr(wheelhouse.wheels, "check", lambda *_: None)
    locks.lock(folder.read())
    monkeypatch.setattr(wheelhouse.wheels, "check", lambda *_: pytest.fail("it is looked at again"))
    locks.lock(folder.read())


@pytest.mark.usefixtures("here")
def test_what_uv_answers_is_parsed_as_any_lock(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dependency by address is not installed because a wheel asks for it."""
    said = f"tool==1.0 --hash=sha256:{A}\n    # from https://mirror.example/simple\n"
    monkeypatch.setattr(resolving, "find_links", lambda: ())
    monkeypatch.setattr(process, "run", lambda *_, **__: Ended(stdout=said))
    folder.write(requirements=["tool==1.0"])
    [found] = locks.resolve(folder.read())
    assert (found.line, found.index) == ("tool==1.0", "")
    said += "evil @ https://evil.example/evil-1.0.tar.gz\n"
    with pytest.raises(BuildFailure, match="no package of an index"):
        locks.resolve(folder.read())


@pytest.mark.usefixtures("here", "ran")
def test_what_is_built_is_installed_by_its_wheel_and_travels_by_its_source(
    folder: Any, wheel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel that is built on another machine may have another hash."""
    file, digest = wheel(folder.path.parent, "tool-1.0-py3-none-any.whl")
    place = paths.cache() / "wheelhouse" / digest
    place.mkdir(parents=True)
    file.rename(place / file.name)
    source = Source(name="tool", version="1.0", sdist=A, wheel=digest)
    made = Built(wheel=place / file.name, source=source, requires=())
    monkeypatch.setattr(building, "built", lambda *_, **__: made)
    folder.write(requirements=["tool"])
    text = f"{pins.header(['tool'])}tool==1.0 \\\n    --hash=sha256:{A}\n    # built from source sha256:{A}\n"
    (folder.path / "requirements.lock").write_text(text)
    found = locks.lock(folder.read())
    assert found.sources == (source,)
    assert found.built_from_source == {"tool": {"version": "1.0", "sdist": A, "wheel": digest}}
    assert found.requirements.read_text() == text.replace(f"--hash=sha256:{A}", f"--hash=sha256:{digest}")
    assert locks.travelling(found, folder.read()) == text
    assert locks.lock(folder.read()) == found


@pytest.mark.usefixtures("here", "ran")
def test_a_lock_whose_source_is_another_file_is_refused(folder: Any) -> None:
    """What is fetched is what its hash says, and nothing besides."""
    folder.write(requirements=["tool"])
    text = f"{pins.header(['tool'])}tool==1.0 --hash=sha256:{A}\n# built from source sha256:{B}\n"
    (folder.path / "requirements.lock").write_text(text)
    with pytest.raises(BadInput, match="another sha256 than the source"):
        locks.lock(folder.read())
    text = text.replace(f"sha256:{A}", f"sha256:{A} --hash=sha256:{B}")
    (folder.path / "requirements.lock").write_text(text)
    with pytest.raises(BadInput, match="several files"):
        locks.lock(folder.read())


def test_what_is_built_with_packages_of_a_models_index_is_for_that_model(here: Any) -> None:
    """Else a model could have another's package built by tools of its own choice."""
    pin = Pin(line="tool==1.0", hashes=frozenset([A]), source=A)
    plain = Question(what="", wanted=(), python=here)
    own = Index(name="own", url="https://packages.example.org", packages=("setuptools",))
    keys = {building._key(pin, plain), building._key(pin, replace(plain, indexes=(own,)))}
    keys.add(building._key(pin, replace(plain, indexes=(replace(own, packages=("setuptools", "wheel")),))))
    keys.add(building._key(replace(pin, source=B), plain))
    assert len(keys) == 4
    assert building._key(pin, replace(plain, what="other", own=(Path("x"),))) in keys
