"""MLflow folders: what they name, what they need, and what their files are."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile import payloads, programs
from hostile.campaign import Case, Command
from hostile.cases import builds
from hostile.ground import Ground
from hostile.making import CONDA, MLMODEL, OWN_LOADER, Make, mlflow

_IMPORT: tuple[Command, ...] = (("import-mlflow", "{folder}/mlflow", "{out}"),)


def _case(name: str, make: Make, **more: object) -> Case:
    """It is refused before anything of it runs."""
    return Case(
        name=f"mlflow-{name}",
        kind="mlflow",
        make=make,
        commands=_IMPORT,
        **{"exits": (2,), "says": (r"remedy",), **more},  # type: ignore[arg-type]
    )


def _needs(*lines: str, **more: object) -> Make:
    """``requirements.txt`` with these lines; ``{secret}``, ``{port}`` and the like are filled in."""

    def make(place: Ground) -> None:
        from hostile.cases.locks import sdist

        text = "\n".join(line.format(folder=place.folder, **place.where) for line in lines)
        mlflow(
            place, files={"requirements.txt": text, "evil-1.0.tar.gz": sdist(place), "own.txt": "./evil-1.0.tar.gz\n"}
        )

    return make


def _put(path: str, put: Callable[[Ground, Path], object]) -> Make:
    """A good folder, of which one file is replaced, or added."""

    def make(place: Ground) -> None:
        file = mlflow(place) / path
        file.unlink(missing_ok=True)
        put(place, file)

    return make


def _fifo(_: Ground, file: Path) -> None:
    os.mkfifo(file)


def _link(target: str) -> Callable[[Ground, Path], None]:
    return lambda place, file: file.symlink_to(str(place.where.get(target, target)))


def _described(old: str, new: str) -> Make:
    """A good folder with an ``MLmodel`` in which ``old`` stands as ``new``."""

    def make(place: Ground) -> None:
        assert old in MLMODEL
        mlflow(place, mlmodel=MLMODEL.replace(old, new.format(**place.where)))

    return make


def _nested(depth: int) -> Callable[[Ground, Path], None]:
    def put(_: Ground, file: Path) -> None:
        here = os.open(".", os.O_RDONLY)
        file.mkdir()
        os.chdir(file)
        for _number in range(depth):
            os.mkdir("d")
            os.chdir("d")
        open("file", "w").close()
        os.fchdir(here)
        os.close(here)

    return put


def _uv_lock(place: Ground) -> None:
    """A lock of uv's that says a package comes from an address."""
    source = f'{{ url = "http://127.0.0.1:{place.where["port"]}/x.whl" }}'
    package = f'[[package]]\nname = "evil"\nversion = "1"\nsource = {source}\n'
    folder = mlflow(
        place,
        files={
            "uv.lock": f"version = 1\n{package}",
            "python_env.yaml": "dependencies:\n- -r requirements.txt\n",
        },
    )
    (folder / "conda.yaml").unlink()


class _Executes:
    """What a pickle does when it is read: run a program."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (self._code,)


def _pickle(place: Ground) -> None:
    """scikit-learn's flavour, whose pickle runs code: in bounds, if at all."""
    text = MLMODEL.replace("loader_module: own_loader", "loader_module: mlflow.sklearn").replace(
        "data.txt", "model.pkl"
    )
    text = text.replace(
        "flavors:\n", "flavors:\n  sklearn:\n    pickled_model: model.pkl\n    sklearn_version: 1.7.0\n"
    )
    code = programs.source(payloads.who_runs, place.where)
    folder = mlflow(place, mlmodel=text, conda=CONDA.replace("- pandas", "- scikit-learn"))
    (folder / "model.pkl").write_bytes(pickle.dumps(_Executes(code)))


def _loader(payload: payloads.Payload) -> Make:
    """A loader module of its own that carries the payload out."""
    return lambda place: mlflow(place, files={"code/own_loader.py": programs.source(payload, place.where) + OWN_LOADER})


_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{this}: &{this} [{', '.join([f'*{before}'] * 9)}]\n" for before, this in zip("abcdefgh", "bcdefghi", strict=True)
)
#: What is not handed on, or refused: either way nothing of it happens.
_LEFT_OUT = {"exits": (1, 2), "says": ()}
#: What is as fetching MLflow and running the model takes.
_RUNS: dict[str, Any] = {"says": (), "needs": ("network",), "timeout_s": 120.0, "disk_mb": 2000}

CASES = [
    # What it needs.
    _case("needs-another-file", _needs("-r {secret}")),
    _case("needs-a-file-of-its-own", _needs("-r own.txt")),
    _case("needs-editable", _needs("-e .")),
    _case("needs-a-path", _needs("./evil-1.0.tar.gz")),
    _case("needs-an-address", _needs("evil @ http://127.0.0.1:{port}/evil-1.0.tar.gz")),
    _case("needs-a-file-address", _needs("evil @ file://{folder}/mlflow/evil-1.0.tar.gz")),
    _case("needs-git", _needs("git+http://127.0.0.1:{port}/x.git#egg=evil")),
    _case("needs-an-index", _needs("--index-url http://127.0.0.1:{port}/simple", "evil==1.0"), **_LEFT_OUT),
    _case("needs-an-extra-index", _needs("--extra-index-url=http://127.0.0.1:{port}/simple", "evil==1.0"), **_LEFT_OUT),
    _case("needs-find-links", _needs("--find-links {folder}/mlflow", "--no-binary :all:", "evil==1.0"), **_LEFT_OUT),
    _case("needs-continued", _needs("\\", "-r \\", "{secret}")),
    _case("needs-options-after-a-pin", _needs("evil==1.0 --index-url http://127.0.0.1:{port}/"), **_LEFT_OUT),
    _case("needs-fifo", _put("requirements.txt", _fifo)),
    _case("needs-endless", _put("requirements.txt", _link("/dev/zero"))),
    _case("needs-a-secret", _put("requirements.txt", _link("secret"))),
    _case(
        "needs-100-mb",
        _put("requirements.txt", lambda _, file: file.write_bytes(b"# x\n" * (25 * 2**20))),
        memory_mb=300,
    ),
    _case(
        "conda-pip-options",
        lambda place: mlflow(place, conda=f"dependencies:\n- pip:\n  - -r {place.where['secret']}\n"),
    ),
    _case("conda-pip-path", lambda place: mlflow(place, conda="dependencies:\n- pip:\n  - ./evil-1.0.tar.gz\n")),
    _case(
        "conda-tags",
        lambda place: mlflow(place, conda="dependencies: !!python/object/apply:os.system ['id']\n"),
    ),
    _case("conda-aliases", lambda place: mlflow(place, conda=_BOMB), memory_mb=200),
    _case("conda-fifo", _put("conda.yaml", _fifo)),
    _case("conda-of-types", lambda place: mlflow(place, conda="dependencies:\n- {a: b}\n- [1]\n- 2026-01-01\n")),
    # What it is.
    _case("mlmodel-fifo", _put("MLmodel", _fifo)),
    _case("mlmodel-a-link", _put("MLmodel", _link("secret"))),
    _case("mlmodel-nested", lambda place: mlflow(place, mlmodel="[" * 20_000)),
    _case("mlmodel-aliases", lambda place: mlflow(place, mlmodel=_BOMB)),
    _case("mlmodel-tags", _described("code: code", "code: !!python/object/apply:os.system ['id']")),
    _case("mlmodel-not-utf-8", _put("MLmodel", lambda _, file: file.write_bytes(b"\xff\xfe\0"))),
    _case("mlmodel-of-types", _described("code: code", "code: [1, {{}}]")),
    _case("mlmodel-big-number", _described("3.17.2", "9" * 5000)),
    _case("code-above", _described("code: code", "code: ../../..")),
    _case("code-absolute", _described("code: code", "code: {home}")),
    _case("data-above", _described("data: data.txt", "data: ../printed")),
    _case("data-a-secret", _put("data.txt", _link("secret"))),
    _case("code-a-link-to-a-home", _put("more", _link("home"))),
    _case(
        "loader-with-quotes", _described("own_loader", "\"x'); import os; os.system('id') #\""), exits=(1, 2), **_RUNS
    ),
    _case(
        "loader-of-the-library",
        _described("own_loader", "os"),
        exits=(1, 2),
        **_RUNS,
    ),
    _case("example-fifo", _put("input_example.json", _fifo)),
    _case("example-endless", _put("input_example.json", _link("/dev/zero"))),
    _case("example-a-secret", _put("input_example.json", _link("secret"))),
    _case("example-nested", lambda place: mlflow(place, files={"input_example.json": "[" * 100_000})),
    _case(
        "example-infinite",
        lambda place: mlflow(place, files={"input_example.json": '{"inputs": [[1e999]]}'}),
    ),
    _case(
        "example-million-digits",
        lambda place: mlflow(place, files={"input_example.json": '{"inputs": [[' + "9" * 10**6 + "]]}"}),
    ),
    _case("fifo-among-files", _put("code/pipe", _fifo)),
    _case("nests-1500", _put("code/deep", _nested(1500))),
    _case("nests-20000", _put("code/deep", _nested(20_000)), timeout_s=60.0),
    _case(
        "names-with-escapes",
        lambda place: mlflow(place, files={"code/\x1b[2J\n.py": "x"}),
        exits=(0, 1, 2),
        **_RUNS,
    ),
    _case(
        "sparse-20-gb",
        _put("code/large", lambda _, file: (file.touch(), os.truncate(file, 20 * 2**30))),
        exits=(1, 2),
        says=(r"large|disk",),
    ),
    _case(
        "into-a-link",
        lambda place: [mlflow(place), (place.folder / "out").symlink_to(place.path("owner"))],
        says=(r"remedy",),
    ),
    _case("uv-lock-of-addresses", _uv_lock),
    # Its code, in bounds; MLflow itself is fetched for each.
    _case("loader-looks-around", _loader(builds.looks_around), exits=(0, 1), **_RUNS),
    _case("loader-outlives", _loader(payloads.outlives), exits=(0, 1), **_RUNS),
    _case("loader-prints-endlessly", _loader(payloads.prints_endlessly), exits=(0, 1), **_RUNS),
    _case("pickle-executes", _pickle, exits=(0, 1, 2), **_RUNS),
]
