"""``harness package`` with every method: the commands of its README, run as they stand there, give the answer."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.methods import METHODS
from harness.platforms import builds, loopback
from harness.spec import model as models

PATIENCE_S = 180


def blocks(readme: str) -> list[str]:
    """The commands of each console block, a block a script."""
    found = re.findall(r"^```console\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    return ["\n".join(line.removeprefix("$ ") for line in block.splitlines()) for block in found]


def elsewhere(script: str) -> str:
    """The script on a free port; a container with the host's network, since the private engine has no bridge."""
    port = re.search(r"--port (\d+)", script)
    if port is not None:
        return script.replace(port[1], str(loopback.free_port()))
    return re.sub(r"--publish \S+", "--network host", script)


def said(script: str, folder: Path, env: Mapping[str, str]) -> str:
    """What the script prints; it ends well, and what it leaves running is ended."""
    with (folder / "output").open("w+") as output, (folder / "errors").open("w+") as errors:
        argv = ["bash", "-eu", "-o", "pipefail", "-c", script]
        child = subprocess.Popen(argv, cwd=folder, env=dict(env), stdout=output, stderr=errors, start_new_session=True)
        try:
            code = child.wait(PATIENCE_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        output.seek(0)
        errors.seek(0)
        text = output.read()
        assert code == 0, f"{script}\n{text}\n{errors.read()}"
        return text


def answer(text: str) -> Any:
    """The last JSON object that was printed."""
    return next(json.loads(line) for line in reversed(text.splitlines()) if line.startswith("{"))


@pytest.fixture
def env(tmp_path: Path, traces_of: Callable[[str], Any], request: pytest.FixtureRequest) -> dict[str, str]:
    """A user's environment: a home of its own, and the engine that a method needs."""
    engine = traces_of(request.getfixturevalue("method")).engine
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HARNESS", "PEX"))}
    return {**kept, "HOME": str(home), **({"DOCKER_HOST": engine.url} if engine else {})}


@pytest.mark.parametrize("method", METHODS)
def test_the_commands_of_a_readme_work(
    method: str, harness: Any, env: dict[str, str], tmp_path: Path, traces_of: Callable[[str], Any]
) -> None:
    """In the folder that was left, and with nothing of the harness but that: the answer that is expected."""
    out, found = tmp_path / "package", METHODS[method].check()
    if method == "pex-scie" and not found.ready:  # its assets are on GitHub alone
        ran = harness("package", "spam-bayes", "--method", method, "--out", out).expect(3)
        assert found.reason in ran.err
        assert not out.exists()
        return
    assert found.ready, found
    harness("package", "spam-bayes", "--method", method, "--out", out).expect(0)
    record = json.loads((out / "package.json").read_text())
    assert record["examples_answered_right"] == len(models.find("spam-bayes").examples.inputs)
    engine = traces_of(method).engine
    image = record["artifact"]["image"]
    if engine is not None and image is not None:
        builds.remove_image(engine, image)  # so that it is the archive that is loaded
    try:
        got = answer(said(elsewhere(blocks((out / "README.md").read_text())[0]), out, env))
    finally:
        if engine is not None and image is not None:
            builds.remove_image(engine, image)
    assert models.answers_match(json.loads((out / "expected.json").read_text()), got, 1e-6)


@pytest.mark.parametrize("method", ["venv", "rest-api"])
def test_an_environment_takes_another_python(method: str, harness: Any, env: dict[str, str], tmp_path: Path) -> None:
    """The README's commands for a Python in another place: the interpreter is that one, the packages stay."""
    out = tmp_path / "package"
    harness("package", "spam-bayes", "--method", method, "--out", out).expect(0)
    unpack, *_ = said_blocks = blocks((out / "README.md").read_text())
    said("\n".join(line for line in unpack.splitlines() if line.startswith(("mkdir", "tar"))), out, env)
    moved = next(block for block in said_blocks if "--without-pip" in block)
    asked = "spam-bayes/bin/python -m harness_runner once < request.json"
    got = answer(said(f"rm spam-bayes/pyvenv.cfg\n{moved}\n{asked}", out, env))
    assert models.answers_match(json.loads((out / "expected.json").read_text()), got, 1e-6)
