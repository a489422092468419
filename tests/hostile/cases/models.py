"""A model's own code, in an instance: what it reads, reaches, keeps, uses up, and says of itself."""

from __future__ import annotations

from textwrap import indent
from typing import Any

from hostile import payloads, programs
from hostile.campaign import CACHE, CHECK, PROFILE, Case, Command, run
from hostile.ground import Ground
from hostile.making import loading, model, plain, predicting
from hostile.payloads import Payload
from hostile.programs import GOOD

RIGHT = (r"all of 1 example right",)


def _held(payload: Payload, *, told: bool = False, name: str = "") -> Case:
    """It is tried when the model is loaded, does not work, and the model answers right."""
    return Case(
        name=f"model-{(name or payload.__name__).replace('_', '-')}",
        kind="model",
        make=loading(payload),
        says=RIGHT,
        without_root="told" if told else "held",
    )


def _bounded(payload: Payload, *says: str, exits: tuple[int, ...] = (1,), **more: object) -> Case:
    """It is tried when the model is asked, and is ended with a reason."""
    return Case(
        name=f"model-{payload.__name__.replace('_', '-')}",
        kind="model",
        make=predicting(payload),
        exits=exits,
        says=says,
        disk_mb=80,
        **more,  # type: ignore[arg-type]
    )


#: No disk of its own can be mounted for the model of an ordinary user: its folders are looked at while it answers.
LOOKED_AT = {"without_root": "told", "doctor_says": "the sum is only looked at while it answers"}


# --- what it says of itself ----------------------------------------------------------------------

_RUNNER = "import harness_runner.model as runner\n"


def _stamps(values: str) -> str:
    """A model whose runner has other stamps than it took."""
    return f"""{_RUNNER}
class Forged(dict):
    def __setitem__(self, name, value):
        pass

def load(model_dir):
    import sys, time
    now = time.monotonic()
    forged = {values}
    runner.stamps = Forged(forged)
    sys.modules["harness_runner.model"].stamps = runner.stamps
    return 2

def predict(model, inputs):
    return [model * number for number in inputs]
"""


def _answering(body: str) -> str:
    """A model that answers on its own socket, byte by byte, instead of the runner."""
    return f"""
def load(model_dir):
    import sys, time
    frame = sys._getframe()
    while "listener" not in frame.f_locals:
        frame = frame.f_back
    listener = frame.f_locals["listener"]
    while True:
        connection, _ = listener.accept()
        for asked in connection.makefile("rb"):
            try:
{indent(body, " " * 16)}
            except OSError:
                break

def predict(model, inputs):
    return inputs
"""


def _sending(line: bytes) -> str:
    """A model that answers this whatever it is asked."""
    return _answering(f"connection.sendall({line!r})")


def _claiming(stamps: str, facts: str = "{}") -> str:
    """A model that answers right, byte by byte, and says this of itself."""
    told = f'{{"facts": {facts}, "stamps": {stamps}}}\n'.encode()
    return _answering(
        f"connection.sendall({told!r} if b'facts' in asked\n"
        "    else b'{\"outputs\": [' + b', '.join([b'2'] * asked.count(b'1')) + b']}\\n')"
    )


def _raising(text: str) -> str:
    """A model that cannot be loaded, and why."""
    return f"def load(model_dir):\n    raise ValueError({text!r})\n\n\ndef predict(model, inputs):\n    return inputs\n"


def _says(name: str, predictor: str, *, commands: tuple[Command, ...] = (CHECK,), **more: object) -> Case:
    return Case(
        name=f"model-says-{name}",
        kind="model",
        make=plain(predictor),
        commands=commands,
        **{"exits": (1,), **more},  # type: ignore[arg-type]
    )


_NO_PREDICTION = (r"answer|response|rubbish|malformed|connection",)
_DOUBT: dict[str, Any] = {
    "commands": (run("venv"),),
    "exits": (0, 1),
    "says": (r"doubt|stamp|finite|in order|not JSON|JSON compliant",),
}
_RUN = (run("venv"),)
_PHASES = ("interpreter", "imports", "weights")
_LONG = "while True:\n    "

_SAID = [
    _says("times-nan", _stamps("dict.fromkeys(('interpreter', 'imports', 'weights'), float('nan'))"), **_DOUBT),
    _says("times-infinite", _stamps("dict(interpreter=now, imports=now, weights=float('inf'))"), **_DOUBT),
    _says(
        "times-long-ago",
        _stamps("dict(interpreter=now - 1e6, imports=now - 1e6, weights=now - 1e6)"),
        **_DOUBT,
        never=(r"-1,000,|-1000000",),
    ),
    _says("times-future", _stamps("dict(interpreter=now + 1e6, imports=now + 1e6, weights=now + 1e6)"), **_DOUBT),
    _says("times-backwards", _stamps("dict(interpreter=now, imports=now - 0.1, weights=now - 0.2)"), **_DOUBT),
    *(
        _says(
            f"raw-times-{name}",
            _claiming(f'{{"interpreter": {text}, "imports": {text}, "weights": {text}}}'),
            **_DOUBT,
        )
        for name, text in {
            "nan": "NaN",
            "infinite": "1e999",
            "minus-infinite": "-Infinity",
            "long-ago": "-1000000.0",
            "zero": "0.0",
            "true": "true",
            "of-400-digits": "9" * 400,
        }.items()
    ),
    _says(
        "raw-facts-nan",
        _claiming("{}", '{"python": NaN, "modules_from_bytecode": 1e999}'),
        commands=_RUN,
        exits=(0, 1),
    ),
    _says("times-text", _stamps("dict(interpreter='now', imports=[], weights=None)"), **_DOUBT),
    _says("times-missing", _stamps("{}"), **_DOUBT),
    _says("nan", _sending(b'{"outputs": [NaN]}\n'), says=_NO_PREDICTION),
    _says("huge-number", _sending(b'{"outputs": [1e999]}\n'), says=_NO_PREDICTION),
    _says("a-million-digits", _answering("connection.sendall(b'{\"outputs\": [' + b'9' * 10**6 + b']}\\n')")),
    _says("deep-json", _answering("connection.sendall(b'{\"outputs\": ' + b'[' * 10**6 + b'\\n')")),
    _says("no-json", _sending(b"\xff\xfe\x00\n"), says=_NO_PREDICTION),
    _says("a-list", _sending(b"[1, 2]\n"), says=_NO_PREDICTION),
    _says("null", _sending(b"null\n"), says=_NO_PREDICTION),
    _says("outputs-as-object", _sending(b'{"outputs": {"0": 2}}\n'), says=_NO_PREDICTION),
    _says("error-as-number", _sending(b'{"error": 7}\n')),
    _says("error-as-list", _sending(b'{"error": [[]]}\n')),
    _says("error-of-other-types", _sending(b'{"error": {"stage": [], "type": {}, "message": 1}}\n')),
    _says(
        "error-of-100-mb",
        _answering("connection.sendall(b'{\"error\": {\"type\": \"' + b'x' * 10**8 + b'\"}}\\n')"),
        memory_mb=300,
    ),
    _says("endless-answer", _answering(_LONG + "connection.sendall(b' ' * 2**20)"), memory_mb=300),
    _says("endless-lines", _answering(_LONG + "connection.sendall(b'{}\\n' * 2**18)"), memory_mb=300),
    _says("slowly", _answering(_LONG + "connection.sendall(b' ')\n    time.sleep(0.1)")),
    _says("control-characters", _raising("\x1b[31m \x9b31m \u202e \ud800 \x00"), says=(r"ValueError",)),
    _says("markup", _raising("[bold red]x[/] [link=file:///etc]y[/link] [/]"), says=(r"\[bold red\]",)),
    _says("exception-that-raises", "class E(Exception):\n    def __str__(self):\n        raise E\n\n\nraise E\n"),
    _says(
        "facts-of-100-mb",
        _RUNNER + "runner.facts = lambda: {str(i): 'x' * 1000 for i in range(10**5)}\n" + GOOD,
        exits=(0, 1),
        commands=_RUN,
        memory_mb=300,
    ),
    _says(
        "facts-of-other-types",
        _RUNNER + "runner.facts = lambda: {'python': {'a': []}, 'user': None, 'pid': 10**400}\n" + GOOD,
        exits=(0, 1),
        commands=_RUN,
    ),
    _says(
        "facts-with-escapes",
        _RUNNER + "runner.facts = lambda: {'python': '\\x1b[2J<script>', '\\x1b': '=1+1'}\n" + GOOD,
        exits=(0, 1),
        commands=(*_RUN, ("compare", "hostile", "--results", "{results}")),
    ),
]


def _twice(place: Ground) -> None:
    """Two models of other names, of which the second looks for what the first left."""
    model(place, programs.at_load(payloads.leaves_in_memory, place.where), name="first", folder="first")
    model(place, programs.at_load(payloads.leaves_in_memory, place.where), name="second", folder="second")


CASES = [
    # What it reads.
    _held(payloads.says_nothing),
    _held(payloads.reads_secrets, told=True),
    _held(payloads.reads_other_models, told=True),
    _held(payloads.reads_processes, told=True),
    _held(payloads.kills_others),
    # What it reaches.
    _held(payloads.connects, told=True),
    _held(payloads.makes_raw_sockets),
    # What rights it gets.
    _held(payloads.makes_namespaces),
    _held(payloads.mounts),
    _held(payloads.gains_rights),
    _held(payloads.writes_outside, told=True),
    # What stays.
    _held(payloads.outlives),
    Case(
        name="model-leaves-in-memory",
        kind="model",
        make=_twice,
        commands=(("check", "{folder}/first"), ("check", "{folder}/first"), ("check", "{folder}/second")),
        says=RIGHT,
    ),
    # What it uses up.
    _bounded(payloads.forks, exits=(0, 1)),
    _bounded(payloads.fills_one_file, "File too large|No space|disk_mb"),
    _bounded(payloads.fills_many_files, "disk_mb|No space|quota"),
    _bounded(payloads.fills_by_children, exits=(0, 1), **LOOKED_AT),
    _bounded(payloads.fills_deleted_files, "disk_mb|No space|quota", **LOOKED_AT),
    _bounded(payloads.fills_inodes, exits=(0, 1), timeout_s=90.0, **LOOKED_AT),
    _bounded(payloads.fills_shared_memory, exits=(0, 1)),
    _bounded(payloads.prints_endlessly, exits=(0, 1), memory_mb=250),
    _bounded(payloads.locks_folders, exits=(0,)),
    Case(
        name="model-nests-1500-folders",
        kind="model",
        make=loading(payloads.nests),
        commands=(CHECK, CACHE),
        says=(r"in all",),
    ),
    Case(
        name="model-nests-20000-folders",
        kind="model",
        make=loading(payloads.nests_deeply),
        commands=(CHECK, CACHE),
        exits=(0, 1),
        says=(r"in all",),
        timeout_s=90.0,
    ),
    Case(
        name="model-swaps-its-socket",
        kind="model",
        make=loading(payloads.swaps_its_socket),
        commands=(run("venv"),),
        exits=(0, 1),
    ),
    Case(
        name="model-profile-reads-secrets",
        kind="model",
        make=loading(payloads.reads_secrets),
        commands=(PROFILE,),
        without_root="told",
    ),
    Case(
        name="model-profile-outlives",
        kind="model",
        make=loading(payloads.outlives),
        commands=(PROFILE,),
    ),
    *_SAID,
]
