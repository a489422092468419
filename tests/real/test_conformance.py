"""The method contract, for every method with real models: build, install, start, answer, and leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import door, interpreter, process, sandbox
from harness.measure import artifacts, start
from harness.measure.start import limits_of
from harness.methods import METHODS
from harness.methods.contract import Artifact, BuildOptions, Installed, Limits, Method
from harness.methods.variants import Variant
from harness.platforms import engine, images
from harness.platforms.depot import Depot
from harness.spec import environments, weights
from harness.spec import model as models
from harness.spec.weights import LockedModel


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model that was built and installed with a method."""

    method: Method
    locked: LockedModel
    artifact: Artifact
    installed: Installed

    @property
    def limits(self) -> Limits:
        return limits_of(self.locked.model)


@contextlib.contextmanager
def built(method: Method, folder: Path, depot: Depot) -> Iterator[Case]:
    """The model in ``folder``, built afresh and installed; the artifact is removed afterwards."""
    model = models.read(folder)
    method.prepare(model)
    locked = weights.locked(model, extra=method.REQUIREMENTS)
    with process.temporary_folder("case", readable=True) as place, process.temporary_folder("tools") as tools:
        artifact = method.build(locked, place, BuildOptions(tool_cache=tools))
        try:
            target = place / "target"
            target.mkdir(mode=0o755)
            installed = method.install(artifact, target, depot)
            yield Case(method=method, locked=locked, artifact=artifact, installed=installed)
        finally:
            method.remove(artifact)


#: Methods whose tools are out of reach of most test machines. Nothing else may be left out.
MAY_BE_ABSENT = {"pex-scie": "HARNESS_SCIE_ASSETS"}


#: What unpacks itself where it is started.
EXTRACTING = {"pex", "pex-scie", "pyinstaller-onefile"}

#: What travels is the model and its requirements' names: the platform installs them.
WITHOUT_DEPENDENCIES = {"cloud-functions"}


def ready(method_id: str) -> Method:
    """The method, which must be ready: one that may be absent is skipped aloud, with what it says it lacks."""
    method = METHODS[method_id]
    found = method.check()
    if not found.ready and method_id in MAY_BE_ABSENT:
        assert found.reason
        assert MAY_BE_ABSENT[method_id] in found.remedy
        pytest.skip(f"{method_id}: {found.reason}")
    assert found.ready, f"{method_id} is not ready: {found}"
    return method


@pytest.fixture(scope="module", params=METHODS)
def case(request: pytest.FixtureRequest, traces_of: Callable[[str], Any], depot: Depot) -> Iterator[Case]:
    """Every method with a model that has many dependencies."""
    traces_of(request.param)
    with built(ready(request.param), models.find("digits-forest").folder, depot) as made:
        yield made


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest, traces_of: Callable[[str], Any]) -> Method:
    """Every method, what it needs being there."""
    traces_of(request.param)
    return ready(request.param)


def test_a_build_gives_an_artifact_that_is_there(case: Case) -> None:
    """It is a path or an image, has a digest and says what it was made with."""
    artifact = case.artifact
    assert (artifact.method, artifact.model) == (case.method.ID, case.locked.model.name)
    assert artifact.path or artifact.image
    assert len(artifact.digest.removeprefix("sha256:")) == 64
    assert artifact.facts
    assert case.method.present(artifact)


def test_sizes_are_sane(case: Case, depot: Depot) -> None:
    """What travels is smaller than what lies unpacked, and neither is smaller than what is in it."""
    sizes = case.method.sizes(case.artifact, depot)
    payload = sum(file.stat().st_size for file in case.locked.payload.rglob("*") if file.is_file())
    assert sizes.unpacked_bytes > payload
    assert sizes.files >= 1
    if sizes.packed_bytes is None:
        assert sizes.packed_absent
    else:
        assert 0 < sizes.packed_bytes <= sizes.unpacked_bytes
    if case.artifact.path is not None and case.method.ID not in WITHOUT_DEPENDENCIES:
        assert sizes.packed_bytes is not None
        assert sizes.packed_bytes > case.locked.lock.wheel_bytes / 2


def test_another_framework_is_answered_right(method: Method, depot: Depot) -> None:
    """ONNX Runtime is native code with threads of its own: other wheels, other ways to break."""
    with built(method, models.find("digits-onnx").folder, depot) as made:
        facts = start.right_answers(method, made.installed, made.limits, made.locked.model)
        sizes = method.sizes(made.artifact, depot)
    compiled, source = int(facts["modules_from_bytecode"]), int(facts["modules_from_source"])
    assert compiled > 50 * max(source, 1)
    assert sizes.packed_bytes is None or 0 < sizes.packed_bytes <= sizes.unpacked_bytes


def test_every_example_is_answered_right(case: Case) -> None:
    """The packaged model gives the answers that its examples expect."""
    facts = start.right_answers(case.method, case.installed, case.limits, case.locked.model)
    assert facts["python"].startswith("3.")


def test_one_start(case: Case, traces_of: Callable[[str], Any]) -> None:
    """Stamps in order on our own clock, what was used and how that is known, bytecode in use; and nothing is left."""
    model, traces = case.locked.model, traces_of(case.method.ID)
    nothing = traces.now()
    before = time.monotonic()
    with case.method.start(case.installed, case.limits) as instance:
        outputs = instance.predict(model.examples.inputs[:1])
        answered = time.monotonic()
        stamps, usage, facts = instance.stamps(), instance.usage(), instance.facts()
        assert traces.now() != nothing
    assert traces.since(nothing) == []
    assert len(outputs) == 1
    inside = [stamps.spawned_s, stamps.sandbox_s, stamps.interpreter_s, stamps.imports_s, stamps.weights_s]
    order = [before, *inside, answered]
    assert order == sorted(order)
    assert usage.source in {"cgroup-v1", "cgroup-v2", "psutil", "docker-stats"}
    assert (usage.cpu_s or 0) > 0
    assert (usage.peak_memory_bytes or 0) > 2**20
    assert (usage.peak_resident_bytes or 0) > 2**20
    # Nearly every module that is loaded comes from bytecode that was shipped or is kept.
    compiled, source = int(facts["modules_from_bytecode"]), int(facts["modules_from_source"])
    assert compiled > (100 if case.locked.lock.packages else 20)
    assert source <= compiled / 50


def test_a_cold_start_is_taken_in_both_states(case: Case) -> None:
    """Its phases add up, and its files can be evicted from memory."""
    for state in ("page-warm", "disk-cold"):
        taken = start.take(case.method, case.installed, case.limits, case.locked.model, state)
        phases = [value for name, value in taken.values.items() if name.startswith("phase_")]
        assert len(phases) == 5
        # An engine learns of a container's process a little after it runs: the interpreter's phase can be 0.
        assert min(phases) >= 0
        assert sum(phase > 0 for phase in phases) >= 4
        assert sum(phases) == pytest.approx(taken.values["cold_start_s"])
        assert taken.dropped == ""
    assert case.installed.own_paths


def test_bytecode_in_the_artifact_needs_no_check(case: Case) -> None:
    """In a folder every module of the dependencies has bytecode beside it, of the kind that is not checked."""
    if case.artifact.path is None or not environments.site_packages(case.artifact.path, interpreter.default()).is_dir():
        pytest.skip("the artifact is no folder with an environment in it")
    packages = environments.site_packages(case.artifact.path, interpreter.default())
    compiled = list(packages.rglob("*.pyc"))
    sources = [file for file in packages.rglob("*.py") if "tests" not in file.parts]
    assert len(compiled) > 0.95 * len(sources) > 0
    flags = {file.read_bytes()[4:8] for file in compiled}
    assert flags == {b"\x01\0\0\0"}


def test_the_same_inputs_are_built_once(method: Method, make_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An artifact that is up to date is found; other inputs, or its loss, make it anew."""
    model = models.read(make_model("once-only", f"SALT = {os.urandom(8).hex()!r}\n" + DOUBLES))
    method.prepare(model)
    locked = weights.locked(model, extra=method.REQUIREMENTS)
    assert artifacts.cached(method, locked) is None
    first = artifacts.up_to_date(method, locked)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(method, "build", lambda *_: pytest.fail("it was built again"))
            assert artifacts.up_to_date(method, locked) == first
        if method.ID == "venv":  # once is enough: a clean build is the same build again
            assert artifacts.clean_build(method, locked).wall_s > 0
            assert artifacts.cached(method, locked) == first
        assert artifacts.cached(method, locked, variant=Variant(bytecode="none")) is None
    finally:
        method.remove(first)
    assert artifacts.cached(method, locked) is None


def prepare(method: Method, folder: Path, depot: Depot, running: engine.Engine | None) -> None:
    """Make what stays: lock, base images, tool environments, what the depot starts."""
    model = models.read(folder)
    weights.locked(model, extra=method.REQUIREMENTS)
    method.prepare(model)
    depot.account()
    if running is not None and depot._node is None:
        depot.pull(running, images.base(running, interpreter.default().minor).tag)


DOUBLES = """
def load(model_dir):
    return 2

def predict(model, inputs):
    return [model * number for number in inputs]
"""

# --- what a model can reach ----------------------------------------------------------------------

PROBE = """
import os, socket

def load(model_dir):
    return model_dir

def attempt(action):
    try:
        return repr(action())
    except OSError as error:
        return type(error).__name__

def predict(model, inputs):
    question = inputs[0]
    return [{
        "user": [os.getuid(), os.geteuid(), os.getgid()],
        "groups": os.getgroups(),
        "environment": dict(os.environ),
        "loopback": attempt(lambda: socket.create_connection(("127.0.0.1", question["port"]), 2)),
        "outside": attempt(lambda: socket.create_connection(("192.0.2.1", 80), 2)),
        "abstract": attempt(lambda: socket.socket(socket.AF_UNIX).connect(chr(0) + question["abstract"])),
        "secret": attempt(lambda: open(question["secret"]).read()),
        "own files": attempt(lambda: open(model / "predictor.py", "a")),
        "home": attempt(lambda: open(os.path.join(os.environ["HOME"], "mine"), "w").close()),
        "temporary": attempt(lambda: open("/tmp/mine", "w").close()),
        "status": dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines()),
    }]
"""


def test_a_model_is_kept_in_bounds_and_leaves_nothing(
    method: Method,
    make_model: Any,
    tmp_path: Path,
    depot: Depot,
    traces_of: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It runs unprivileged, reaches neither the network nor the host's loopback, and is told no secrets.

    While it is there, an artifact is a folder, a file or a tag; afterwards nothing of it, its build or its instance is.
    """
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    secret.chmod(0o600)
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    name = f"harness-test-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind("\0" + name)
        abstract.listen()
        question = {"port": listener.getsockname()[1], "abstract": name, "secret": str(secret)}
        folder = make_model("probe", PROBE, inputs=[question], outputs=[None])
        traces = traces_of(method.ID)
        prepare(method, folder, depot, traces.engine)
        before = traces.now()
        case = stack.enter_context(built(method, folder, depot))
        method.sizes(case.artifact, depot)
        instance = stack.enter_context(method.start(case.installed, case.limits))
        found = instance.predict([question])[0]
        assert traces.now() != before
    assert not method.present(case.artifact)
    assert traces.since(before) == []
    assert "hidden" not in str(found["environment"])
    assert "PYTHONDONTWRITEBYTECODE" not in found["environment"]
    assert found["home"] == found["temporary"] == "None"
    assert found["status"]["NoNewPrivs"].strip() == "1"
    assert found["status"]["CapEff"].strip() == "0" * 16
    able = door.abilities()
    if case.installed.image is not None or able.network:
        assert {found["loopback"], found["abstract"], found["outside"]} <= {"ConnectionRefusedError", "OSError"}
    if able.unprivileged_user:
        user = found["user"][0]
        assert sandbox.is_instance_user(user)
        assert found["user"] == [user] * 3
        assert found["groups"] in ([], [user])
        assert found["secret"] in {"PermissionError", "FileNotFoundError"}
        # What an executable extracts belongs to the user that starts it.
        assert method.ID in EXTRACTING or found["own files"] in {"PermissionError", "OSError"}
