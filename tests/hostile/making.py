"""Model folders, wheels and MLflow folders, written on the spot and as small as they can be."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hostile import payloads, programs
from hostile.ground import Ground
from hostile.payloads import Payload
from hostile.programs import GOOD

Make = Callable[[Ground], object]
Table = Mapping[str, Any]

#: Bounds that a case reaches in a second.
SMALL: Table = {"memory_mb": 128, "processes": 32, "disk_mb": 32, "start_timeout_s": 15.0, "predict_timeout_s": 15.0}


def model(
    place: Ground,
    predictor: str = GOOD,
    *,
    folder: str = "model",
    examples: object = None,
    files: Mapping[str, str | bytes] | None = None,
    train: str | None = None,
    wheels: Mapping[str, bytes] | None = None,
    tables: Mapping[str, Table] | None = None,
    artifacts: Sequence[Table] = (),
    **keys: object,
) -> Path:
    """A model folder that doubles numbers; ``keys`` and ``tables`` are those of ``model.toml``."""
    where = place.folder / folder
    where.mkdir(parents=True, exist_ok=True)
    (where / "predictor.py").write_text(predictor, encoding="utf-8", errors="surrogatepass")
    (where / "examples.json").write_text(json.dumps(examples or {"inputs": [1], "outputs": [2]}))
    for path, content in {**(files or {}), **{f"wheels/{name}": data for name, data in (wheels or {}).items()}}.items():
        (where / path).parent.mkdir(parents=True, exist_ok=True)
        (where / path).write_bytes(content.encode() if isinstance(content, str) else content)
    head = {"spec_version": 1, "name": "hostile", "version": "1", "description": "", "framework": "none", **keys}
    if wheels:
        head["wheels"] = "wheels"
    lines = [f"{key} = {json.dumps(value)}" for key, value in head.items()]
    for artifact in artifacts:
        lines += ["[[artifacts]]", *(f"{key} = {json.dumps(value)}" for key, value in artifact.items())]
    if train is not None:
        (where / "train.py").write_text(train)
    with_train = {"train": {"timeout_s": 8.0}} if train is not None else {}
    for name, table in {"resources": SMALL, **with_train, **(tables or {})}.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    (where / "model.toml").write_text("\n".join(lines) + "\n")
    return where


def loading(payload: Payload, **more: Any) -> Make:
    """A model that carries the payload out when it is loaded."""
    return lambda place: model(place, programs.at_load(payload, place.where), **more)


def predicting(payload: Payload, **more: Any) -> Make:
    """A model that carries it out when it is asked."""
    return lambda place: model(place, programs.at_predict(payload, place.where), **more)


def plain(predictor: str, **more: Any) -> Make:
    """A model with this predictor."""
    return lambda place: model(place, predictor, **more)


def training(body: str | Payload, *, artifact: str = "weights.txt", **more: Any) -> Make:
    """A model whose ``train.py`` does this, with ``out`` the folder to write to and ``where`` at hand.

    It is one that is trained anew each time: its source names the ground.
    """

    def make(place: Ground) -> Path:
        head = programs.definitions(payloads.says_nothing if isinstance(body, str) else body, place.where)
        act = body if isinstance(body, str) else f"os.chdir(out)\n{body.__name__}(WHERE)"
        text = f"{head}\nimport json, os, stat, sys, time\nout, where = sys.argv[1], WHERE\n{act}\n"
        if not isinstance(body, str):
            text += "if FOUND:\n    sys.exit('; '.join(FOUND))\nopen(out + '/weights.txt', 'w').write('2')\n"
        again = f"# {place.folder}\n"
        given = [{"path": artifact, "verify": "outputs"}]
        return model(place, **{"train": again + text, "artifacts": given, **more})

    return make


# --- wheels --------------------------------------------------------------------------------------


def wheel(
    files: Mapping[str, str | bytes], *, name: str = "hostile_pkg", links: Mapping[str, str] | None = None
) -> bytes:
    """A wheel ``NAME-1.0-py3-none-any.whl`` with these files; ``links`` are entries that say they are links."""
    import io

    info = f"{name}-1.0.dist-info"
    all_files: dict[str, str | bytes] = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hostile\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **files,
    }
    record, target = [], io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in all_files.items():
            data = content.encode() if isinstance(content, str) else content
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{path},sha256={digest},{len(data)}")
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), data)
        for path, points_to in (links or {}).items():
            entry = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o120777 << 16
            digest = base64.urlsafe_b64encode(hashlib.sha256(points_to.encode()).digest()).rstrip(b"=").decode()
            record.append(f"{path},sha256={digest},{len(points_to)}")
            archive.writestr(entry, points_to)
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,", ""]))
    return target.getvalue()


WHEEL = "hostile_pkg-1.0-py3-none-any.whl"


def with_wheel(
    files: Callable[[Ground], Mapping[str, str | bytes]],
    *,
    predictor: Callable[[Ground], str] | str = GOOD,
    links: Callable[[Ground], Mapping[str, str]] | None = None,
    **more: Any,
) -> Make:
    """A model that needs ``hostile-pkg``, whose wheel lies in its folder."""

    def make(place: Ground) -> Path:
        # A file that names the ground: a wheel of another case is another wheel, whatever a cache knows.
        own = {"hostile_pkg/__init__.py": f"# {place.folder}\n", **files(place)}
        made = wheel(own, links=links(place) if links else None)
        text = predictor if isinstance(predictor, str) else predictor(place)
        return model(place, text, **{"wheels": {WHEEL: made}, "requirements": ["hostile-pkg==1.0"], **more})

    return make


def pth(payload: Payload, place: Ground) -> dict[str, str | bytes]:
    """A ``.pth`` file that carries the payload out wherever an interpreter starts with the wheel installed."""
    return {
        "hostile_start.pth": "import hostile_start\n",
        "hostile_start.py": f"try:\n{_indented(programs.source(payload, place.where))}\nexcept Exception:\n    pass\n",
    }


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def lock_header(requirements: Sequence[str]) -> str:
    """The first line of a ``requirements.lock``, which says what it was made for."""
    return f"# locked for: {hashlib.sha256(json.dumps(sorted(requirements)).encode()).hexdigest()}\n"


# --- MLflow --------------------------------------------------------------------------------------


def mlflow(
    place: Ground,
    *,
    mlmodel: str | None = None,
    conda: str | None = None,
    files: Mapping[str, str | bytes] | None = None,
) -> Path:
    """An MLflow folder with a loader module of its own: no package has to be there to run it."""
    folder = place.folder / "mlflow"
    (folder / "code").mkdir(parents=True)
    given = {
        "MLmodel": MLMODEL if mlmodel is None else mlmodel,
        "conda.yaml": CONDA if conda is None else conda,
        "code/own_loader.py": OWN_LOADER,
        "data.txt": "2",
        "input_example.json": json.dumps({"inputs": [[1.0]]}),
        **(files or {}),
    }
    for name, content in given.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


MLMODEL = """\
artifact_path: model
flavors:
  python_function:
    code: code
    data: data.txt
    env: conda.yaml
    loader_module: own_loader
    python_version: 3.11.2
mlflow_version: 3.17.2
saved_input_example_info:
  artifact_path: input_example.json
  format: tf-serving
  type: ndarray
utc_time_created: '2026-11-01 09:00:00.000000'
"""
CONDA = "name: mlflow-env\ndependencies:\n- python=3.11\n- pip:\n  - pandas\n"
OWN_LOADER = """
class Model:
    def predict(self, data, params=None):
        return [2.0]

def _load_pyfunc(path):
    return Model()
"""
