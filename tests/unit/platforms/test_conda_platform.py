"""Conda without any conda: which channel, what is asked of it, what the interpreter's package holds."""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness import interpreter, paths, process, tools, tree
from harness.errors import BadInput, BuildFailure, CheckFailure, MissingComponent
from harness.interpreter import Interpreter
from harness.platforms.conda import channels, local, locking, python_package, tooling
from harness.spec.locked import Lock
from harness.spec.model import Conda

SECRET = "https://me:s3cret@mirror.example/t/t0ken/conda-forge"  # noqa: S105 -- a made-up one


def script(name: str) -> ModuleType:
    """A script that runs in the tool environment, of which nothing is imported before it is needed."""
    spec = importlib.util.spec_from_file_location(f"conda_{name}", tooling.RESOURCES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tasks() -> ModuleType:
    """What runs in the tool environment."""
    return script("tasks")


@pytest.fixture(autouse=True)
def decided() -> Iterator[None]:
    """No test learns which channel another decided on."""
    channels._public.cache_clear()
    channels._given.cache_clear()
    yield
    channels._public.cache_clear()
    channels._given.cache_clear()


class Asked:
    """Stands in for the tool environment's tasks; ``answer`` is what each is answered, an error is raised."""

    def __init__(self) -> None:
        self.answer: Any = {"found": 1}
        self.requests: list[tuple[str, dict[str, Any], dict[str, Any]]] = []

    def __call__(self, name: str, request: dict[str, Any], **how: Any) -> dict[str, Any]:
        self.requests.append((name, request, how))
        if isinstance(self.answer, Exception):
            raise self.answer
        found: dict[str, Any] = self.answer
        return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, here: Interpreter) -> Asked:
    """Tasks that are not done."""
    found = Asked()
    monkeypatch.setattr(tooling, "task", found)
    monkeypatch.setattr(tooling, "platform", lambda: "linux-64")
    monkeypatch.delenv(channels.VARIABLE, raising=False)
    return found


# --- the tool environment ------------------------------------------------------------------------


@pytest.mark.parametrize(("machine", "name"), [("x86_64", "linux-64"), ("aarch64", "linux-aarch64"), ("s390x", None)])
def test_the_platform_is_called_what_conda_calls_it(
    monkeypatch: pytest.MonkeyPatch, machine: str, name: str | None
) -> None:
    """What there are no packages for is said."""
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=machine))
    monkeypatch.setattr(tooling, "glibc", lambda: "2.36")
    if name is None:
        with pytest.raises(MissingComponent, match=machine):
            tooling.platform()
    else:
        assert tooling.platform() == name


def test_nobody_else_may_look_into_the_folder_of_locks() -> None:
    """A lock can name a mirror's password, and models run on this machine."""
    tooling.folder("locks")
    assert stat.S_IMODE((paths.cache() / "conda").stat().st_mode) == 0o700


def test_the_versions_are_the_locked_ones() -> None:
    """Of what makes the artifact."""
    lock = (paths.PACKAGE / "resources" / "tools" / "conda.txt").read_text()
    versions = tooling.versions()
    assert set(versions) == {"conda-lock", "py-rattler", "conda-pack"}
    assert all(f"{name}=={version} " in lock for name, version in versions.items())


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (SECRET, "https://mirror.example/conda-forge"),
        (f"GET {SECRET}/linux-64 failed", "GET https://mirror.example/conda-forge/linux-64 failed"),
        ("https://host/t/x", "https://host"),
        ("nobody@example.com said /t/x", "nobody@example.com said /t/x"),
    ],
)
def test_passwords_of_mirrors_are_not_told(text: str, clean: str, tasks: ModuleType) -> None:
    """Neither in results nor in messages."""
    assert tooling.without_secrets(text) == clean
    if text.startswith("https:"):
        assert tasks._shown(text) == clean


# --- which channel -------------------------------------------------------------------------------


def test_the_models_channels_are_asked_once(asked: Asked, folder: Any) -> None:
    """A name is one of the public ones; an address is itself. The answer holds for the process."""
    model = folder.write(conda={"channels": ["conda-forge", "https://host/own/"]}).read()
    urls = ("https://conda.anaconda.org/conda-forge", "https://host/own")
    for _ in range(2):
        found = channels.source(model, "3.11")
        assert (found.urls, found.local, found.said) == (urls, False, ", ".join(urls))
    ((name, request, how),) = asked.requests
    assert (name, request["channels"]) == ("probe", urls)
    assert how["timeout_s"] <= channels.PROBE_S + 1
    assert how["network"]


@pytest.mark.parametrize("answer", [BuildFailure("did not end within 6 s"), {"found": 0}])
def test_a_channel_that_does_not_answer_is_replaced_by_a_local_one(asked: Asked, folder: Any, answer: Any) -> None:
    """And that is what results say; a channel without a Python of ours is of no use either."""
    asked.answer = answer
    found = channels.source(folder.read(), "3.11")
    assert found.local
    assert found.said == channels.LOCAL


def test_a_mirror_takes_the_place_of_all_channels(asked: Asked, folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its password is used, and not told."""
    monkeypatch.setenv(channels.VARIABLE, SECRET + "/")
    found = channels.source(folder.write(conda={"channels": ["other"]}).read(), "3.11")
    assert found.urls == (SECRET,)
    assert found.said == "https://mirror.example/conda-forge"


def test_a_mirror_can_be_a_folder(asked: Asked, folder: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Results do not say which: that is a place of this machine."""
    monkeypatch.setenv(channels.VARIABLE, str(tmp_path))
    found = channels.source(folder.read(), "3.11")
    assert found.urls == (tmp_path.as_uri(),)
    assert str(tmp_path) not in found.said


@pytest.mark.parametrize(
    ("given", "answer", "told"),
    [
        ("/nowhere/at/all", {"found": 1}, "neither an address nor a folder"),
        (SECRET, BuildFailure("conda: probe: 404"), "does not answer: conda: probe: 404"),
        (SECRET, {"found": 0}, "has no Python"),
    ],
)
def test_a_mirror_that_is_none_is_an_error(
    asked: Asked, folder: Any, monkeypatch: pytest.MonkeyPatch, given: str, answer: Any, told: str
) -> None:
    """The user asked for it, so nothing else is taken in its place; the message names the variable."""
    asked.answer = answer
    monkeypatch.setenv(channels.VARIABLE, given)
    with pytest.raises(BadInput, match=told) as caught:
        channels.source(folder.read(), "3.11")
    assert channels.VARIABLE in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.remedy


# --- locking -------------------------------------------------------------------------------------


def lock_of(tmp_path: Path, *packages: tuple[str, str], digests: tuple[str, ...] = ()) -> Lock:
    """A lock of these packages, with wheels that hold nothing."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name, version in packages:
        (wheels / f"{name.replace('-', '_')}-{version}-py3-none-any.whl").write_text(name)
    requirements = tmp_path / "requirements.txt"
    hashes = " ".join(f"--hash=sha256:{digest}" for digest in digests)
    requirements.write_text("".join(f"{name}=={version} {hashes}\n" for name, version in packages))
    return Lock(
        python=interpreter.default(),
        requirements=requirements,
        wheels=wheels,
        digest="0",
        packages=packages,
        wheel_bytes=1,
        download_s=None,
    )


def test_a_local_channel_is_asked_for_what_the_lock_has(tmp_path: Path, here: Interpreter) -> None:
    """The same versions as every other method gets, Python included."""
    lock = lock_of(tmp_path, ("numpy", "2.4.6"), ("torch", "2.13.0+cpu"))
    expected = [f"python =={here.version}", "numpy ==2.4.6", "torch ==2.13.0+cpu"]
    assert list(locking._pinned(lock)) == expected


def test_a_channel_is_asked_for_the_models_requirements_by_their_conda_names(folder: Any, here: Interpreter) -> None:
    """Without what only PyPI has: local versions and extras; and without what is for other machines."""
    wanted = ["Torch==2.13.0+cpu", "uvicorn[standard]>=0.30,<1", "plain", "colorama; os_name == 'nt'"]
    read = folder.write(requirements=wanted).read()
    model = replace(read, file=replace(read.file, conda=Conda(names={"torch": "pytorch-cpu"})))
    expected = [f"python {here.minor}.*", "pytorch-cpu ==2.13.0", "uvicorn <1,>=0.30", "plain"]
    assert list(locking._asked(model, here.minor)) == expected


def test_the_environment_is_written_as_conda_reads_it() -> None:
    """Channels first, in their order."""
    text = locking._environment("tiny", ("https://a/x", "https://b/y"), ["python ==3.11.2", "numpy ==2.4.6"])
    assert text == (
        "name: tiny\n"
        'channels:\n  - "https://a/x"\n  - "https://b/y"\n'
        'dependencies:\n  - "python ==3.11.2"\n  - "numpy ==2.4.6"\n'
    )


def test_the_solvers_reason_is_found_in_what_conda_lock_says() -> None:
    """It stands between what it was about and the command; where there is no such thing, all is told."""
    said = "Could not lock the environment for platform linux-64\nnothing provides x\n    Command: [...]\nTraceback\n"
    assert locking._reason(said) == "nothing provides x\n"
    assert locking._reason("Traceback") == "Traceback"


@pytest.mark.usefixtures("here")
def test_only_wheels_that_were_locked_become_packages(tmp_path: Path) -> None:
    """Whatever else lies in the wheelhouse by now."""
    lock = lock_of(tmp_path, ("some-dep", "1.0"))
    wheel = lock.wheels / "some_dep-1.0-py3-none-any.whl"
    with pytest.raises(CheckFailure, match="some_dep"):
        local._wheels(lock)
    lock.requirements.write_text(f"some-dep==1.0 --hash=sha256:{tree.sha256(wheel)}\n")
    assert local._wheels(lock) == {wheel: tree.sha256(wheel)}


# --- the interpreter's package -------------------------------------------------------------------


def test_the_library_is_taken_without_what_is_not_pythons_own(tmp_path: Path) -> None:
    """Tests, other packages, static libraries, bytecode for other places, and links to the distribution's files."""
    source = tmp_path / "lib"
    kept = ["os.py", "json/tool.py", "lib-dynload/_ssl.so", "unittest/case.py"]
    left = ["test/test_os.py", "unittest/tests/x.py", "site-packages/pip.py", "config-3.11/libpython3.11.a"]
    left += ["__pycache__/os.pyc", "EXTERNALLY-MANAGED"]
    for name in (*kept, *left):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).touch()
    (source / "sitecustomize.py").symlink_to("/etc/python3.11/sitecustomize.py")
    python_package._copy_library(source, tmp_path / "copy")
    copied = {file.relative_to(tmp_path / "copy").as_posix() for file in tree.files(tmp_path / "copy")}
    assert copied == set(kept)


def test_linked_libraries_travel_except_the_c_librarys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs must use the C library of the system that they run on; what is not found cannot be taken."""
    expat = tmp_path / "libexpat.so.1.8.10"
    expat.write_text("expat")
    said = f"""/usr/bin/python3.11:
\tlinux-vdso.so.1 (0x00007f69)
\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f69)
\tlibexpat.so.1 => {expat} (0x00007f69)
\tlibgone.so.2 => not found
\t/lib64/ld-linux-x86-64.so.2 (0x00007f69)
/usr/lib/python3.11/lib-dynload/pyexpat.so:
\tlibexpat.so.1 => {expat} (0x00007f70)
"""
    monkeypatch.setattr(python_package, "_linked", lambda *_: said)
    (bundle := tmp_path / "bundle").mkdir()
    assert python_package._bundle(Path("/usr/bin/python3.11"), [], bundle) == [bundle / "libexpat.so.1"]
    assert (bundle / "libexpat.so.1").read_text() == "expat"


def test_the_floor_is_the_newest_glibc_that_is_asked_for(tmp_path: Path) -> None:
    """As versions, not as text; of the program and of every library."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3.11").write_bytes(b"\x7fELF\0GLIBC_2.9\0GLIBC_2.2.5\0GLIBCXX_3.4.99\0")
    assert python_package._floor(tmp_path) == "2.17"
    (tmp_path / "x.so.1").write_bytes(b"\0GLIBC_2.35\0")
    assert python_package._floor(tmp_path) == "2.35"


# --- what runs in the tool environment -----------------------------------------------------------


@pytest.mark.parametrize(
    ("platforms", "floor"),
    [
        (["manylinux_2_27_x86_64", "manylinux_2_28_x86_64"], "2.27"),
        (["manylinux2014_x86_64", "manylinux_2_17_x86_64"], "2.17"),
        (["manylinux_2_5_x86_64", "manylinux1_x86_64"], "2.5"),
        (["any"], None),
    ],
)
def test_a_wheels_tag_says_which_glibc_it_runs_with(tasks: ModuleType, platforms: list[str], floor: str | None) -> None:
    """The oldest of those it names."""
    assert tasks._floor([SimpleNamespace(platform=platform) for platform in platforms]) == floor


def record(url: str, digest: str = "00" * 32) -> SimpleNamespace:
    """A package in a lock."""
    return SimpleNamespace(url=url, sha256=bytes.fromhex(digest), file_name=url.rpartition("/")[2])


def test_packages_are_found_under_their_digest(tasks: ModuleType, tmp_path: Path) -> None:
    """Those that were made here where they are; those of servers and of the user's folders in the store."""
    store = tmp_path / "conda" / "packages"
    own = tmp_path / "conda" / "channels" / "x" / "torch-2.13.0+cpu-py311_0.conda"
    assert tasks._place(record(own.as_uri()), str(store)) == own
    for url in ("https://host/linux-64/a.conda", "file:///mnt/mirror/linux-64/a.conda"):
        assert tasks._place(record(url), str(store)) == store / ("00" * 32) / "a.conda"


def test_a_package_with_another_digest_is_refused(tasks: ModuleType, tmp_path: Path) -> None:
    """rattler does not look at the digest of a file."""
    file = tmp_path / "a.conda"
    file.write_text("something else")
    with pytest.raises(ValueError, match=r"a\.conda has sha256"):
        tasks._check(file, record(file.as_uri()))
    tasks._check(file, record(file.as_uri(), tree.sha256(file)))


def test_folders_of_this_machine_are_not_told(tasks: ModuleType) -> None:
    """An artifact says of a package from a folder which one it is, not where it lay."""
    assert tasks._shown("file:///home/me/channel/linux-64/a.conda") == "file:///local/linux-64/a.conda"


def test_packages_that_a_server_has_are_downloaded_once(
    tasks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And checked before they are there; a folder's are copied, since a sandbox may hide the folder."""
    origin = tmp_path / "mirror" / "a.conda"
    origin.parent.mkdir()
    origin.write_text("package")
    wanted = record(origin.as_uri(), tree.sha256(origin))
    monkeypatch.setattr(tasks, "_records", lambda *_: [wanted])
    store = tmp_path / "conda" / "packages"
    for _ in range(2):
        tasks.fetch("lock", "linux-64", str(store))
        origin.unlink(missing_ok=True)
    assert (store / wanted.sha256.hex() / "a.conda").read_text() == "package"


@pytest.mark.spawns
def test_scripts_find_the_interpreter_beside_them(tasks: ModuleType, tmp_path: Path) -> None:
    """Wherever the environment lies, spaces included, and also through a link."""
    (folder := tmp_path / "an environment").mkdir()
    (folder / "python").symlink_to(sys.executable)
    (folder / "tool").write_bytes(tasks.SHEBANG + b"import sys\nprint(sys.argv[1:])\n")
    (folder / "tool").chmod(0o755)
    (tmp_path / "link").symlink_to(folder / "tool")
    for program in (folder / "tool", tmp_path / "link"):
        done = subprocess.run([str(program), "a b"], capture_output=True, text=True, check=True)
        assert done.stdout == "['a b']\n"


def test_the_executable_says_what_conda_lock_asks_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its version; the packages that satisfy the request, but for what the target has; or the reason why none do."""
    conda = script("conda_executable")
    assert conda.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("conda ")
    monkeypatch.setenv("CONDA_SUBDIR", "linux-64")
    solved = []
    for name in ("__glibc", "zlib"):
        known = {"version": "1.3", "build": "h0", "build_number": 0, "depends": [], "constrains": []}
        known |= {"subdir": "linux-64", "url": f"https://host/{name}", "file_name": name, "channel": "https://host"}
        known |= {"md5": None, "sha256": b"\x01\x02", "name": SimpleNamespace(normalized=name)}
        solved.append(SimpleNamespace(**known))
    monkeypatch.setattr(conda, "solve", lambda *_: solved)
    argv = ["create", "--prefix", "/p", "--dry-run", "--json", "--override-channels", "--channel", "https://host", "z"]
    assert conda.main(argv) == 0
    answer = json.loads(capsys.readouterr().out)
    (fetched,) = answer["actions"]["FETCH"]
    assert answer["actions"]["LINK"] == [fetched]
    assert (fetched["name"], fetched["sha256"], fetched["md5"]) == ("zlib", "0102", "")

    def unsolvable(wanted: Any, specs: Any, platform: Any) -> Any:
        raise ValueError("nothing provides z")

    monkeypatch.setattr(conda, "solve", unsolvable)
    assert conda.main(argv) == 1
    assert "nothing provides z" in json.loads(capsys.readouterr().out)["message"]


def test_a_task_that_fails_is_a_failed_build(monkeypatch: pytest.MonkeyPatch, here: Interpreter) -> None:
    """With what it said, and without the passwords in it."""
    said: dict[str, Any] = {}

    def run(argv: list[str], **how: Any) -> process.Completed:
        said["how"] = how
        return process.Completed(argv=tuple(argv), returncode=1, stdout=said["out"], stderr="", wall_s=0.0)

    monkeypatch.setattr(tools, "executable", lambda _, name: Path("/tools", name))
    monkeypatch.setattr(process, "run", run)
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    said["out"] = f'{{"error": "404 for {SECRET}"}}'
    with pytest.raises(BuildFailure, match=r"conda: fetch: 404 for https://mirror\.example/conda-forge"):
        tooling.task("fetch", {}, timeout_s=1.0, network=True)
    assert "SECRET_TOKEN" not in said["how"]["env"]
    said["out"] = "crashed"
    with pytest.raises(BuildFailure, match="fetch ended with exit code 1"):
        tooling.task("fetch", {}, timeout_s=1.0, network=True)
