"""What Lambda functions run on here: Amazon's Runtime Interface Emulator, and an image with Lambda's Python runtime.

The emulator is the real one (``aws-lambda-rie``, a static program inside the wheel of ``aws-sam-cli``), and so is
the runtime client (``awslambdaric``). The image around them is not Amazon's: it is the harness's base image, so
that what differs between methods is the packaging and not the distribution.

The emulator's own REPORT line is not real, and it knows neither Lambda's limits nor its share of processors:
memory and processors are the container's bounds, time is taken by the harness.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from pathlib import Path

from harness import interpreter, paths, process, tools, tree
from harness.errors import BuildFailure, MissingComponent
from harness.interpreter import Interpreter
from harness.platforms import builds
from harness.platforms.engine import Engine
from harness.platforms.images import BaseImage
from harness.spec import environments

#: Where Lambda has a function's code, and its runtime.
TASK_ROOT = "/var/task"
RUNTIME_ROOT = "/var/runtime"

#: Where the emulator is shown to a container, the port it answers on, and the path.
EMULATOR = "/var/rapid/aws-lambda-rie"
PORT = 8080
INVOCATIONS = "/2015-03-31/functions/function/invocations"

#: Lambda gives processors in proportion to memory: one vCPU at this many MB.
#: https://docs.aws.amazon.com/lambda/latest/dg/resource-model.html "Configure Lambda function memory", read 2026-11-23.
MEMORY_MB_PER_CPU = 1769

#: A function's container is called once, by moto, with the handler and the event: the program that does it.
INVOKE_ONCE = f"{RUNTIME_ROOT}/invoke_once.py"

_LOCK = paths.PACKAGE / "resources" / "tools" / "rie.txt"
_ADDED = paths.PACKAGE / "resources" / "aws_lambda" / "runtime"
_PACKAGES = ("awslambdaric", "simplejson", "snapshot_restore_py.py")
_MACHINES = {"x86_64": "x86_64", "aarch64": "arm64"}

_DOCKERFILE = """\
FROM {base}
COPY runtime {root}
RUN ["{python}", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "{root}"]
ENV PYTHONPATH={task}:{root} LAMBDA_TASK_ROOT={task} LAMBDA_RUNTIME_DIR={root}
USER 65532:65532
WORKDIR {task}
ENTRYPOINT ["{python}", "-m", "awslambdaric"]
"""


def architecture() -> str:
    """Lambda's name for this machine's architecture. MissingComponent where Lambda has none such."""
    name = _MACHINES.get(platform.machine())
    if name is None:
        raise MissingComponent(
            f"Lambda runs on x86_64 and arm64, and this machine is {platform.machine()}", remedy="use another machine"
        )
    return name


def cpus(memory_mb: int, limit: float | None = None) -> float:
    """The processors that Lambda gives a function with so much memory; never more than this machine has."""
    share = memory_mb / MEMORY_MB_PER_CPU
    return min(share, limit or share, os.cpu_count() or 1)


def emulator() -> Path:
    """The emulator's program, fetched where it is not there: BuildFailure where no package index is in reach."""
    installed = _installed(interpreter.default()) / "samcli" / "local" / "rapid" / f"aws-lambda-rie-{architecture()}"
    if not installed.is_file():
        raise MissingComponent(f"aws-sam-cli has no emulator for {architecture()}", remedy="use another machine")
    # A wheel keeps no executable bit, and an installer's file may be shared with its cache.
    place = paths.cache() / "lambda" / f"aws-lambda-rie-{version('aws-sam-cli')}"
    if not place.is_file():
        with tools.alone(place.with_name(place.name + ".lock")), process.disk_full_named(place):
            part = place.with_name(place.name + ".part")
            shutil.copyfile(installed, part)
            part.chmod(0o755)
            part.replace(place)
    return place


def version(package: str) -> str:
    """The locked version of ``aws-sam-cli`` or ``awslambdaric``."""
    for line in _LOCK.read_text().splitlines():
        if line.startswith(f"{package}=="):
            return line.split("==")[1].split()[0]
    raise KeyError(package)


def facts(base: BaseImage) -> dict[str, str]:
    """What a report says of the stand-in."""
    return {
        "emulator": f"aws-lambda-rie of aws-sam-cli {version('aws-sam-cli')}",
        "runtime_client": f"awslambdaric {version('awslambdaric')}",
        "runtime_image": f"the harness's own base image ({base.source}), not Amazon's, which was not in reach",
    }


def image(running: Engine, base: BaseImage, python: Interpreter) -> str:
    """The tag of the image that stands for Lambda's runtime of ``python``, on ``base``; built where it is not there."""
    added = [tree.sha256(file) for file in sorted(_ADDED.iterdir()) if file.is_file()]
    key = hashlib.sha256("\0".join([base.reference, _LOCK.read_text(), _DOCKERFILE, *added]).encode()).hexdigest()[:12]
    tag = f"ml-packaging-harness/lambda-runtime:{base.python_minor}-{key}"
    if builds.image_id(running, tag) is None:
        with process.temporary_folder("lambda-runtime") as folder:
            _fill(folder / "runtime", python)
            text = _DOCKERFILE.format(base=base.tag, python=base.python, root=RUNTIME_ROOT, task=TASK_ROOT)
            builds.build_image(running, folder, text, tag)
    return tag


def _fill(folder: Path, python: Interpreter) -> None:
    site = _installed(python)
    folder.mkdir()
    for found in [*(site / name for name in _PACKAGES), *site.glob("runtime_client*.so")]:
        if found.is_dir():
            tree.copy(found, folder / found.name, keep=lambda relative: "__pycache__" not in relative.parts)
        elif found.is_file():
            shutil.copyfile(found, folder / found.name)
        else:
            raise BuildFailure(f"awslambdaric's {found.name} is not where it is looked for")
    tree.copy(_ADDED, folder, keep=lambda relative: relative.suffix == ".py")


def _installed(python: Interpreter) -> Path:
    program = tools.executable("rie", "sam", python=python)
    return environments.site_packages(program.parent.parent, python)
