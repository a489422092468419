"""What lies in a model's folder: files that are none, numbers that no machine has, names, sources and examples."""

from __future__ import annotations

import json
import marshal
import os
import socket
from collections.abc import Callable
from importlib import util
from pathlib import Path

from hostile import payloads, programs
from hostile.campaign import CACHE, CHECK, Case, package
from hostile.ground import Ground
from hostile.making import SMALL, Make, model


def _case(name: str, make: Make, **more: object) -> Case:
    """It is refused: exit code 2, and a message that says what to do."""
    return Case(
        name=f"folder-{name}",
        kind="folder",
        make=make,
        **{"exits": (2,), "says": (r"remedy",), **more},  # type: ignore[arg-type]
    )


def _file(path: str, put: Callable[[Ground, Path], object], **more: object) -> Make:
    """A good model, of which one file is replaced, or added."""

    def make(place: Ground) -> None:
        file = model(place, **more) / path  # type: ignore[arg-type]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        put(place, file)

    return make


def _fifo(_: Ground, file: Path) -> None:
    os.mkfifo(file)


def _socket(_: Ground, file: Path) -> None:
    here = os.getcwd()
    os.chdir(file.parent)  # a socket's path may have a hundred letters
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(file.name)
    finally:
        os.chdir(here)


def _link(target: str) -> Callable[[Ground, Path], None]:
    return lambda place, file: file.symlink_to(str(place.where.get(target, target)))


def _text(text: str | bytes) -> Callable[[Ground, Path], object]:
    return lambda _, file: file.write_bytes(text.encode() if isinstance(text, str) else text)


def _sparse(size: int) -> Callable[[Ground, Path], None]:
    def put(_: Ground, file: Path) -> None:
        file.touch()
        os.truncate(file, size)

    return put


def _deep(depth: int) -> Callable[[Ground, Path], None]:
    """Folders within folders, made by steps: no path is as long."""

    def put(_: Ground, file: Path) -> None:
        here = os.open(".", os.O_RDONLY)
        file.mkdir()
        os.chdir(file)
        for _number in range(depth):
            os.mkdir("d")
            os.chdir("d")
        os.fchdir(here)
        os.close(here)

    return put


def _toml(line: str, **more: object) -> Make:
    """A good ``model.toml`` with this line at its top."""

    def make(place: Ground) -> None:
        file = model(place, **more) / "model.toml"  # type: ignore[arg-type]
        key = line.partition("=")[0].strip()
        kept = [one for one in file.read_text().splitlines() if not one.startswith(f"{key} =")]
        file.write_text("\n".join([line, *kept]), encoding="utf-8")

    return make


def _examples(text: str | bytes, **more: object) -> Make:
    return _file("examples.json", _text(text), **more)


def _many_files(place: Ground) -> None:
    folder = model(place)
    for number in range(20_000):
        (folder / str(number)).touch()


def _many_examples(_: Ground, file: Path) -> None:
    file.write_text(json.dumps({"inputs": [[0] * 16] * 700_000, "outputs": [2] * 700_000}))


def _resources(**changed: object) -> Make:
    return lambda place: model(place, tables={"resources": {**SMALL, **changed}})


def _env(**variables: str) -> Make:
    return lambda place: model(
        place,
        files={"evil.py": programs.source(payloads.who_runs, place.where), "python": "#!/bin/sh\nexit 1\n"},
        train="import sys\nopen(sys.argv[1] + '/weights.txt', 'w').write('2')\n" + f"# {place.folder}\n",
        artifacts=[{"path": "weights.txt", "verify": "outputs"}],
        tables={"env": {name: text.format(model=place.model, **place.where) for name, text in variables.items()}},
    )


def _forged_bytecode(place: Ground) -> None:
    """Bytecode that says it is that of the predictor, whatever that is now."""
    folder = model(place)
    code = compile(programs.source(payloads.who_runs, place.where) + programs.GOOD, "predictor.py", "exec")
    header = util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)  # unchecked
    for name in ("cpython-311", "cpython-312", "cpython-313"):
        file = folder / "__pycache__" / f"predictor.{name}.pyc"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(header + marshal.dumps(code))


def _git(place: Ground) -> None:
    """A repository whose settings run a program, for whoever asks git."""
    folder = model(place)
    (folder / ".git").mkdir()
    program = place.folder / "run"
    program.write_text(f"#!/usr/bin/python3\n{programs.source(payloads.who_runs, place.where)}\n")
    program.chmod(0o755)
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / ".git" / "config").write_text(f"[core]\n\tfsmonitor = {program}\n\tsshCommand = {program}\n")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(program)
    (folder / "pyproject.toml").write_text("[tool.uv]\nindex-url = 'http://127.0.0.1:1/simple'\n")
    (folder / "uv.toml").write_text(f"index-url = 'http://127.0.0.1:{place.where['port']}/simple'\n")
    (folder / "pip.conf").write_text(f"[global]\nindex-url = http://127.0.0.1:{place.where['port']}/simple\n")


_ANY = {"exits": (0, 1, 2), "says": ()}
_RIGHT = {"exits": (0,), "says": (r"all of 1 example right",)}
_MB = 2**20

CASES = [
    # Files that are none.
    _case("toml-fifo", _file("model.toml", _fifo)),
    _case("toml-endless", _file("model.toml", _link("/dev/zero")), memory_mb=200),
    _case("toml-a-link-to-a-secret", _file("model.toml", _link("secret"))),
    _case("toml-of-environ", _file("model.toml", _link("/proc/self/environ"))),
    _case("toml-a-folder", _file("model.toml", lambda _, file: file.mkdir())),
    _case("toml-of-2-gb", _file("model.toml", _sparse(2048 * _MB)), memory_mb=200),
    _case("examples-fifo", _file("examples.json", _fifo)),
    _case("examples-endless", _file("examples.json", _link("/dev/zero"))),
    _case("examples-a-link-to-a-secret", _file("examples.json", _link("secret")), never=(r"canary",)),
    _case(
        "examples-of-67-mb",
        _file("examples.json", _many_examples),
        exits=(1, 2),
        says=(r"examples\.json|large",),
        memory_mb=600,
    ),
    _case("predictor-fifo", _file("predictor.py", _fifo)),
    _case("predictor-a-link-to-a-secret", _file("predictor.py", _link("secret"))),
    _case("train-fifo", _file("train.py", _fifo, train="")),
    _case("data-fifo", _file("data.bin", _fifo), says=(r"data\.bin", r"remedy")),
    _case("data-socket", _file("data.bin", _socket), says=(r"data\.bin", r"remedy")),
    _case("data-a-link-to-a-secret", _file("data.txt", _link("secret")), exits=(0, 1, 2), says=()),
    _case("data-a-link-to-environ", _file("data.txt", _link("/proc/self/environ")), **_ANY),
    _case("data-a-link-to-endless", _file("data.txt", _link("/dev/zero")), **_ANY),
    _case("data-a-link-to-a-home", _file("home", _link("home")), exits=(0, 1, 2), says=()),
    _case("data-a-link-to-itself", _file("loop", _link("loop")), **_ANY),
    _case("data-a-link-to-above", _file("up", lambda place, file: file.symlink_to(place.folder)), **_ANY),
    _case(
        "data-sparse-20-gb",
        _file("data.bin", _sparse(20 * 1024 * _MB)),
        exits=(1, 2),
        says=(r"data\.bin|disk|large",),
    ),
    _case(
        "weights-a-link-to-a-secret",
        _file("w.bin", _link("secret"), artifacts=[{"path": "w.bin", "verify": "outputs"}]),
    ),
    _case(
        "weights-fifo",
        _file("w.bin", _fifo, artifacts=[{"path": "w.bin", "sha256": "0" * 64}]),
        says=(r"w\.bin", r"remedy"),
    ),
    _case(
        "weights-folder-with-links",
        _file("w/key", _link("secret"), artifacts=[{"path": "w/", "verify": "outputs"}]),
        **_ANY,
    ),
    _case("nests-1500-folders", _file("deep", _deep(1500)), commands=(CHECK, CACHE), exits=(0, 1, 2), says=()),
    _case(
        "nests-20000-folders",
        _file("deep", _deep(20_000)),
        commands=(CHECK, CACHE),
        exits=(0, 1, 2),
        says=(),
        timeout_s=60.0,
    ),
    _case(
        "20000-files",
        _many_files,
        timeout_s=90.0,
        **_ANY,
    ),
    _case(
        "names-with-escapes",
        lambda place: model(place, files={"\x1b[2J\x9b\n\u202e.txt": "x", "a\\b": "x"}),
        **_ANY,
    ),
    _case(
        "names-not-utf-8",
        _file("x", lambda _, file: open(os.fsencode(file) + b"\xff\xfe", "w").close()),
        **_ANY,
    ),
    _case("files-setuid", lambda place: (model(place, files={"tool": "x"}) / "tool").chmod(0o6755), **_RIGHT),
    _case("forged-bytecode", _forged_bytecode, **_RIGHT),
    _case("git-and-settings", _git, **_RIGHT),
    # What model.toml says.
    _case("name-with-a-path", _toml('name = "../../escaped"'), says=(r"name", r"remedy")),
    _case("name-with-escapes", _toml('name = "a\\u001b[2J"'), says=(r"name", r"remedy")),
    _case("entrypoint-above", _toml('entrypoint = "../../../etc/passwd"'), says=(r"entrypoint", r"remedy")),
    _case("entrypoint-with-zero-byte", _toml('entrypoint = "a\\u0000.py"'), says=(r"entrypoint", r"remedy")),
    _case("entrypoint-of-100000-letters", _toml(f'entrypoint = "{"a" * 100_000}.py"'), says=(r"entrypoint", r"remedy")),
    _case("examples-above", _toml('examples.path = "/etc/shadow"'), says=(r"examples", r"remedy")),
    _case("wheels-above", _toml('wheels = "../.."'), says=(r"wheels", r"remedy")),
    _case(
        "artifact-above",
        lambda place: model(place, artifacts=[{"path": "../x", "verify": "outputs"}]),
        says=(r"artifacts\.0\.path", r"remedy"),
    ),
    _case(
        "artifact-with-zero-byte",
        lambda place: model(place, artifacts=[{"path": "a\0b", "verify": "outputs"}]),
        says=(r"artifacts\.0\.path", r"remedy"),
    ),
    _case("toml-nested-deeply", _toml("x = " + "[" * 100_000 + "]" * 100_000)),
    _case("toml-of-dotted-keys", _toml(".".join(["a"] * 50_000) + " = 1")),
    _case("toml-a-number-of-a-million-digits", _toml("spec_version = " + "9" * 10**6)),
    _case("toml-not-utf-8", _file("model.toml", _text(b"\xff\xfe\x00"))),
    _case("toml-with-nan", _toml("examples.tolerance = nan")),
    _case("tolerance-of-1e300", _toml("examples.tolerance = 1e300"), says=(r"tolerance", r"remedy")),
    _case(
        "version-with-markup", _toml('version = "[link=file:///etc/passwd]<script>alert(1)</script>\\u001b[2J"'), **_ANY
    ),
    _case("python-with-a-path", _toml('python = "/tmp/evil"'), says=(r"python", r"remedy")),
    _case(
        "system-packages-with-options",
        _toml('system_packages = ["-o=APT::Update::Pre-Invoke::=id", "a; id"]'),
        exits=(0, 2),
        says=(),
    ),
    # A ceiling of the host's over what it asks for.
    _case(
        "memory-of-2-63",
        _resources(memory_mb=2**63 - 1),
        exits=(0, 2),
        says=(r"memory_mb",),
        never=(r"\d{12,} MiB",),
    ),
    _case("memory-of-10-30", _resources(memory_mb=10**30), exits=(0, 2), says=()),
    _case("processes-of-10-18", _resources(processes=10**18), exits=(0, 2), says=()),
    _case("disk-of-2-62", _resources(disk_mb=2**62), exits=(0, 2), says=()),
    _case("time-of-1e308", _resources(start_timeout_s=1e308, predict_timeout_s=1e308), exits=(0, 2), says=()),
    # Variables of its process.
    _case("env-preload", _env(LD_PRELOAD="{model}/evil.so", LD_LIBRARY_PATH="{model}"), **_ANY),
    _case("env-python", _env(PYTHONSTARTUP="{model}/evil.py", PYTHONPATH="{model}", PYTHONINSPECT="1"), **_ANY),
    _case("env-path", _env(PATH="{model}", HOME="{home}", TMPDIR="{anybody}"), **_ANY),
    _case("env-home-of-python", _env(PYTHONHOME="{model}"), **_ANY),
    _case(
        "env-of-the-harness",
        _env(HARNESS_CACHE="{owner}", HARNESS_WEIGHTS="{socket}", HARNESS_SCRATCH="{owner}"),
        **_ANY,
    ),
    _case("env-with-zero-byte", _env(A="a\0b"), says=(r"env", r"remedy")),
    _case(
        "env-with-equals-in-name",
        lambda place: model(place, tables={"env": {'"A=B"': "x", '""': "y"}}),
        exits=(0, 1, 2),
        says=(),
    ),
    _case("env-of-1-mb", _env(A="x" * 2**20), exits=(1, 2), says=(r"env|large|long",)),
    # Sources.
    _case(
        "source-of-parentheses",
        lambda place: model(place, "x = " + "(" * 5000 + ")" * 5000 + programs.GOOD),
        exits=(1, 2),
        says=(r"predictor\.py",),
    ),
    _case(
        "source-that-takes-memory",
        lambda place: model(place, "x = [" + "a," * 3_000_000 + "]\n" + programs.GOOD),
        exits=(0, 1, 2),
        says=(),
        tree_mb=1100,
        timeout_s=60.0,
    ),
    _case(
        "source-of-minuses",
        lambda place: model(place, "x = " + "-" * 500_000 + "1\n" + programs.GOOD),
        exits=(1, 2),
        says=(r"predictor\.py",),
    ),
    _case(
        "source-with-large-constants",
        lambda place: model(place, "x = (((('a' * 4096,) * 250,) * 250,) * 250)\n" + programs.GOOD),
        **_ANY,
    ),
    _case(
        "source-not-utf-8",
        _file("predictor.py", _text(b"# coding: utf-8\nx = '\xff'\n")),
        exits=(1, 2),
        says=(r"predictor\.py",),
    ),
    _case("source-with-zero-byte", _file("predictor.py", _text(b"x = 1\0\n")), exits=(1, 2), says=(r"predictor\.py",)),
    # Examples.
    _case(
        "examples-infinite",
        _examples('{"inputs": [1], "outputs": [1e999]}'),
        says=(r"examples\.json", r"remedy"),
    ),
    _case("examples-nan", _examples('{"inputs": [1], "outputs": [NaN]}')),
    _case(
        "examples-nested-deeply",
        _examples('{"inputs": [' + "[" * 5000 + "]" * 5000 + '], "outputs": [2]}'),
        exits=(1, 2),
        says=(),
    ),
    _case("examples-of-a-million-digits", _examples('{"inputs": [1], "outputs": [' + "9" * 10**6 + "]}")),
    _case(
        "examples-twice-the-same-key",
        _examples('{"inputs": [1], "outputs": [3], "outputs": [2]}'),
        exits=(0, 2),
        says=(),
    ),
    _case(
        "examples-half-characters",
        _examples('{"inputs": ["\\ud800"], "outputs": ["\\ud800\\ud800"]}'),
        exits=(1, 2),
        says=(),
    ),
    _case("examples-not-utf-8", _examples(b"\xff\xfe{}")),
    # Packaging what is odd.
    _case(
        "package-with-markup",
        _toml('description = "{{model}} <script>alert(1)</script> \\u001b[2J `rm -rf`"'),
        commands=(package("venv"),),
        exits=(0, 1),
        says=(),
    ),
]
