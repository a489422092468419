"""Targets: what an instance finds there and what it does not, which artifacts run, and that nothing stays mounted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import harness as package
from harness import interpreter, process
from harness.measure import artifacts, portability, start
from harness.measure.part import Subject, Taken
from harness.measure.sample import Cell
from harness.methods import METHODS
from harness.metrics import TARGETS, Target
from harness.platforms import host, targets
from harness.platforms.depot import Depot
from harness.sandbox import UNPRIVILEGED_ID, Bounds
from harness.spec import model as models
from harness.spec import weights

pytestmark = pytest.mark.usefixtures("root")

MIB = 2**20

#: A machine that is not this one: a program of another release, the files that it may and may not see or change.
LOOK = """
. /etc/os-release; echo "release $VERSION_CODENAME"
echo "python $(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo none)"
echo "user $(id -u)"
for file in "$@"; do test -e "$file" && echo "sees $file"; done
for place in / /usr /etc /var /dev /home; do touch "$place/x" 2>/dev/null && echo "wrote to $place"; done
ls /proc/1/root/ >/dev/null 2>&1 && echo "sees the root of process 1"
touch ./x && echo "wrote home"
touch /tmp/x && echo "wrote tmp"
while read -r line; do case "$line" in *:*) echo "interface ${line%%:*}";; esac; done < /proc/net/dev
"""


@contextlib.contextmanager
def there(name: Target, *command: str) -> Iterator[host.HostProcess]:
    """A shell's command on a target."""
    machine = targets.find(name)
    with process.temporary_folder("there", readable=True) as scratch:
        home = scratch / "home"
        home.mkdir(mode=0o755)
        with host.running(
            ["/bin/sh", "-c", *command],
            env=process.environment(home),
            cwd=home,
            bounds=Bounds(memory_bytes=256 * MIB, processes=32, disk_bytes=64 * MIB),
            shows=[],
            kept=[home],
            around=machine.surroundings,
        ) as running:
            yield running


def said(running: host.HostProcess) -> list[str]:
    """What it printed, when it has ended."""
    deadline = time.monotonic() + 20
    while running.exit_code() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return running.output().splitlines()


@pytest.mark.parametrize("name", ["debian-older", "debian-newer", "no-python"])
def test_another_system_is_all_there_is(name: Target, traces_of: Callable[[str], Any]) -> None:
    """Its release and Python, its own home and /tmp; nothing of this machine's, and no way to change the target."""
    around = targets.find(name).surroundings
    assert around is not None
    assert around.root is not None
    root = around.root
    traces = traces_of("venv")
    before = traces.now()
    mine = [package.__file__, "/etc/hostname", str(root), str(Path(sys.executable).resolve()), "/root/.profile"]
    contents = sorted(path.relative_to(root) for path in root.rglob("*"))
    minor = interpreter.default().minor
    with there(name, LOOK, "look", *mine, "/usr/bin/python" + minor) as running:
        found = said(running)
    python = targets.python_of(name, minor)
    assert [line.split() for line in found] == [
        ["release", targets.images.SUITES[python]],
        ["python", "none" if name == "no-python" else python],
        ["user", str(UNPRIVILEGED_ID)],
        ["wrote", "home"],
        ["wrote", "tmp"],
        ["interface", "lo"],
    ]
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == contents
    assert traces.since(before) == []


def test_what_is_read_only_is_all_but_the_home() -> None:
    """Not even /tmp can be written to; another user owns nothing."""
    with there("read-only", LOOK) as running:
        found = said(running)
    assert "wrote home" in found
    assert [line for line in found if line.startswith("wrote")] == ["wrote home"]
    with there("non-root", LOOK) as running:
        found = said(running)
    assert f"user {targets.OTHER_ID}" in found
    assert [line for line in found if line.startswith("wrote")] == ["wrote home", "wrote tmp"]


def test_a_killed_harness_leaves_nothing_mounted(traces_of: Callable[[str], Any]) -> None:
    """The instance's mounts were never anybody else's, and it dies with the harness."""
    targets.find("debian-newer")
    traces = traces_of("venv")
    before = traces.now()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tests.real.test_portability import there\n"
        "with there('debian-newer', 'echo ready; sleep 600') as running:\n"
        "    while 'ready' not in running.output(): pass\n"
        "    print('ready', flush=True)\n"
        "    while True: pass\n"
    )
    checkout = str(Path(__file__).parents[2])
    with subprocess.Popen([sys.executable, "-c", code, checkout], stdout=subprocess.PIPE, text=True) as killed:
        try:
            assert killed.stdout is not None
            assert killed.stdout.readline() == "ready\n"
            assert any("sleep 600" in line for line in traces.now() - before)
        finally:
            os.kill(killed.pid, signal.SIGKILL)
    assert traces.since(before) == []


@pytest.fixture
def carried(traces_of: Callable[[str], Any], make_model: Any, depot: Depot) -> Callable[[str], dict[Target, Taken]]:
    """``carried(method)``: what was found by target, for the artifact of a small model."""

    def carry(method_id: str) -> dict[Target, Taken]:
        traces_of(method_id)
        method, model = METHODS[method_id], models.read(make_model("tiny"))
        method.prepare(model)
        locked = weights.locked(model, extra=method.REQUIREMENTS)
        artifact = artifacts.up_to_date(method, locked)
        with process.temporary_folder("carried", readable=True) as target:
            subject = Subject(
                cell=Cell(model=model.name, method=method_id),
                method=method,
                locked=locked,
                artifact=artifact,
                installed=method.install(artifact, target, depot),
                limits=start.limits_of(model),
                depot=depot,
            )
            before = traces_of(method_id).now()
            taken = {state: portability.PART.take(subject, state, 0) for state in TARGETS}
            assert traces_of(method_id).since(before) == []
        return taken

    return carry


#: On this machine's own system each of them runs, whoever runs it.
AT_HOME = {"no-network": 1.0, "read-only": 1.0, "non-root": 1.0}


@pytest.mark.parametrize(
    ("method_id", "elsewhere"),
    [
        # Its interpreter is the system's, and of one minor version.
        ("venv", {"debian-older": 0.0, "debian-newer": 0.0, "no-python": 0.0}),
        # Takes any interpreter that it finds; a model without compiled dependencies does too.
        ("pex", {"debian-older": 1.0, "debian-newer": 1.0, "no-python": 0.0}),
        # Brings its interpreter along, which needs the C library of the release it was built on, or a newer one.
        ("pyinstaller", {"debian-older": 0.0, "debian-newer": 1.0, "no-python": 1.0}),
        ("container", {"debian-older": None, "debian-newer": None, "no-python": None}),
    ],
)
def test_artifacts_run_where_they_find_what_they_need(
    method_id: str, elsewhere: dict[Target, float | None], carried: Callable[[str], dict[Target, Taken]]
) -> None:
    """As is known of each; every 0 and every absence has a reason."""
    if METHODS[method_id].LAYERS.environment != "image":
        assert interpreter.default().minor == "3.11", "what is expected of other releases holds for bookworm's Python"
    taken = carried(method_id)
    values = {state: one.values.get(portability.METRIC) for state, one in taken.items()}
    assert values == {**elsewhere, **AT_HOME}, taken
    for state, one in taken.items():
        assert one.note or one.absent, state
    if method_id == "venv":
        assert all("python3.11" in taken[state].note for state in elsewhere)
    if method_id == "pyinstaller":
        assert "GLIBC" in taken["debian-older"].note
