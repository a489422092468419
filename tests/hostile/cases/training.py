"""``train.py``: it is given a folder to write to, and what it leaves there is what the harness goes on with."""

from __future__ import annotations

from collections.abc import Iterable

from hostile import payloads
from hostile.campaign import CACHE, CHECK, Case
from hostile.cases.models import LOOKED_AT
from hostile.ground import Ground
from hostile.making import model, training
from hostile.payloads import Payload

#: Where what it wrote is not what it has to write, this is said.
_NOT_WRITTEN = (r"weights\.txt|train", r"remedy")
_FILLS = {"exits": (1,), "says": (r"disk_mb|No space|quota",), "disk_mb": 80, **LOOKED_AT}


def _held(payload: Payload, *, told: bool = False, **more: object) -> Case:
    """It is tried while training, does not work, and the weights are made."""
    return Case(
        name=f"train-{payload.__name__.replace('_', '-')}",
        kind="train",
        make=training(payload),
        **{  # type: ignore[arg-type]
            "says": (r"all of 1 example right",),
            "without_root": "told" if told else "held",
            **more,
        },
    )


def _output(name: str, body: str, **more: object) -> Case:
    """It leaves this as its weights, which is refused."""
    return Case(
        name=f"train-{name}",
        kind="train",
        make=training(body),
        **{"exits": (1, 2), "says": _NOT_WRITTEN, **more},  # type: ignore[arg-type]
    )


def _no_links_or_foreign(place: Ground) -> Iterable[str]:
    """What was kept of the weights is the harness's own, and nothing but files and folders."""
    import os
    import stat

    kept = [path for path in (place.path("cache") / "weights").rglob("*") if "another-model" not in str(path)]
    owner = os.lstat(place.path("cache")).st_uid
    for path in kept:
        status = os.lstat(path)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)) or status.st_uid != owner:
            yield f"{path} was kept: {status.st_mode:o} of user {status.st_uid}"


_PUT = "weights = out + '/weights.txt'\n"
_GOOD_TOO = "open(weights, 'w').write('2')\n"


def _data_changed(place: Ground) -> None:
    """Weights made of ``data.txt``, which another number is written into between the two commands."""
    for folder, number in (("model", 2), ("other", 3)):
        model(
            place,
            "def load(model_dir):\n    return int((model_dir / 'weights.txt').read_text())\n\n\n"
            "def predict(model, inputs):\n    return [model * number for number in inputs]\n",
            folder=folder,
            files={"data.txt": str(number)},
            train=f"# {place.folder}\nimport shutil, sys\nshutil.copyfile('data.txt', sys.argv[1] + '/weights.txt')\n",
            artifacts=[{"path": "weights.txt", "verify": "outputs"}],
            examples={"inputs": [1], "outputs": [number]},
        )


CASES = [
    _held(payloads.reads_secrets, told=True),
    _held(payloads.reads_other_models, told=True),
    _held(payloads.reads_processes, told=True),
    _held(payloads.kills_others),
    _held(payloads.connects, told=True),
    _held(payloads.makes_namespaces),
    _held(payloads.writes_outside, told=True),
    _held(payloads.outlives),
    _held(payloads.forks, exits=(0, 1), says=()),
    _held(payloads.prints_endlessly, exits=(0, 1), says=(), memory_mb=250),
    _held(payloads.fills_many_files, **_FILLS),
    _held(payloads.fills_deleted_files, **_FILLS),
    _held(payloads.fills_shared_memory, exits=(0, 1), says=(), disk_mb=80),
    _held(payloads.nests, exits=(0, 1), says=()),
    _output("weights-link-to-secret", _PUT + "os.symlink(where['secret'], weights)"),
    _output("weights-link-to-etc", _PUT + "os.symlink('/etc', weights)"),
    _output(
        "weights-in-linked-folder",
        "os.symlink(where['home'], out + '/w')\nos.mkdir(out + '/weights.txt')",
        says=(r"remedy",),
    ),
    _output("weights-fifo", _PUT + "os.mkfifo(weights)"),
    _output("weights-socket", _PUT + "import socket\nsocket.socket(socket.AF_UNIX).bind(weights)"),
    _output("weights-proc", _PUT + "os.symlink('/proc/self/environ', weights)"),
    _output("weights-endless-device", _PUT + "os.symlink('/dev/zero', weights)"),
    _output("weights-a-folder", _PUT + "os.mkdir(weights)"),
    _output(
        "weights-sparse-50-gb",
        _PUT + "os.truncate(os.open(weights, os.O_CREAT | os.O_RDWR), 20 * 2**20)\n"
        "for number in range(2000):\n    os.truncate(os.open(f'{out}/{number}', os.O_CREAT | os.O_RDWR), 25 * 2**20)",
        disk_mb=80,
        says=(r"disk_mb|MiB|No space",),
    ),
    _output(
        "weights-one-sparse-gb",
        _PUT + "import resource\nos.truncate(os.open(weights, os.O_CREAT | os.O_RDWR), 2**30)",
        disk_mb=80,
        says=(r"disk_mb|large|MiB|No space",),
    ),
    _output(
        "weights-setuid",
        _PUT + _GOOD_TOO + "os.chmod(weights, 0o6755)",
        exits=(0, 1),
        says=(),
        after=_no_links_or_foreign,
    ),
    _output(
        "more-than-weights",
        _PUT + _GOOD_TOO + "os.symlink(where['secret'], out + '/more')\nos.mkfifo(out + '/pipe')",
        exits=(0, 1),
        says=(),
        after=_no_links_or_foreign,
    ),
    _output(
        "names-with-control-characters",
        _PUT
        + _GOOD_TOO
        + "open(out + '/\\x1b[2J\\x9b\\n\\u202e', 'w').close()\nopen(os.fsencode(out) + b'/\\xff', 'w').close()",
        exits=(0, 1),
        says=(),
    ),
    _output(
        "nests-1500-in-output",
        _PUT + _GOOD_TOO + "os.chdir(out)\nfor _ in range(1500): os.mkdir('d'); os.chdir('d')",
        exits=(0, 1),
        says=(),
        commands=(CHECK, CACHE),
    ),
    _output(
        "nests-20000-in-output",
        _PUT + _GOOD_TOO + "os.chdir(out)\nfor _ in range(20000): os.mkdir('d'); os.chdir('d')",
        exits=(0, 1),
        says=(),
        commands=(CHECK, CACHE),
        timeout_s=120.0,
    ),
    _output("locks-its-output", _PUT + _GOOD_TOO + "os.chmod(weights, 0)\nos.chmod(out, 0)", exits=(0, 1), says=()),
    _output(
        "100000-files-in-output",
        _PUT + _GOOD_TOO + "for number in range(100_000): open(f'{out}/{number}', 'w').close()",
        exits=(0, 1),
        says=(),
        timeout_s=120.0,
    ),
    _output("hangs", "time.sleep(600)", says=(r"timeout_s",), timeout_s=60.0),
    _output(
        "forged-traceback", "sys.exit('Traceback (most recent call last):\\n\\x1b[2J\\x00')", says=(r"exit code 1",)
    ),
    _output(
        "changes-its-model",
        _PUT + _GOOD_TOO + "open('predictor.py', 'a').write('broken(')\nopen('/work/x', 'w')",
        exits=(1,),
        says=(r"exit code 1",),
    ),
    Case(
        name="train-of-other-data",
        kind="train",
        make=_data_changed,
        commands=(("check", "{folder}/model"), ("check", "{folder}/other")),
        says=(r"all of 1 example right",),
    ),
    Case(
        name="train-key-of-other-model",
        kind="train",
        make=lambda place: [
            training("open(out + '/weights.txt', 'w').write(where['token'])", folder=folder, name=name)(place)
            for folder, name in (("model", "first"), ("other", "second"))
        ],
        commands=(("check", "{folder}/model"), ("check", "{folder}/other")),
        says=(r"all of 1 example right",),
    ),
]
