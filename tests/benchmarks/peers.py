"""Our artifacts against those of the tools that people use today, side by side on this machine.

    python tests/benchmarks/peers.py [--rounds N] [--builds N] [--json FILE]

Needs root, mmdebstrap and a Docker engine (the harness's private one is started if none answers); makes everything
else itself, below the harness's cache. It takes about half an hour, and ends with a table: exit code 0 also where a
target is missed, which the table says.

What is compared, for the model ``digits-forest``:

* ``container`` with BentoML (``bentoml build`` and ``containerize``), with MLflow (``mlflow models
  generate-dockerfile --env-manager local``, its nginx on, and ``docker build``) and with a careful multi-stage
  Dockerfile (``peers_data/handwritten.Dockerfile``);
* ``venv`` with ``python -m venv`` and ``pip install -r``; ``pex`` with ``pex -r ... -D ... -e ... -o ...``.

How it is kept fair:

* All images are built from one base image, with one engine and its classic builder, without its layer cache. BentoML
  and MLflow need a base with a package manager, so it is like the official "slim" image of Python. What does not
  need one, ours and the hand-written image, is weighed a second time on the harness's own base (``-lean``).
* Packages come from a mirror on this machine: nobody's build time has a download in it, nobody meets the network.
* The tools run as they are, with their defaults and their own Dockerfiles; only the line ``FROM`` of MLflow's names
  our base image in the place of the one that can't be pulled here.
* Builds alternate, starts are taken in rounds of random order, ratios are paired within rounds.
* A cold start is from asking the engine for a container to the first correct prediction, in the same bounds of
  memory and processes, the image's pages in memory. Ours is asked over its Unix socket, the others over HTTP.
"""

# ruff: noqa: T201 -- a script of its own

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import random
import secrets
import shutil
import sys
import threading
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[2]))

from packaging.utils import parse_wheel_filename

from harness import bootstrap, interpreter, paths, process, tools, tree
from harness.errors import BuildFailure, HarnessError, MissingComponent
from harness.measure import start
from harness.methods import container, hosted, layout, pex, venv
from harness.methods.contract import Artifact, BuildOptions, Installed, Limits
from harness.platforms import builds, engine, images, namespaces, registry
from harness.platforms.engine import Engine
from harness.platforms.images import BaseImage
from harness.spec import environments, weights
from harness.spec import model as models
from harness.spec.model import Json, answers_match
from harness.spec.weights import LockedModel

MODEL = "digits-forest"
DATA = Path(__file__).with_name("peers_data")
LOCKS = ("bentoml", "mlflow", "served")

#: (what, whose, against whom, at most): the ratios that we want to reach.
TARGETS = (
    ("packed", "container", "bentoml", 0.3),
    ("packed", "container", "mlflow", 0.35),
    ("packed", "container", "handwritten", 0.75),
    ("start", "container", "bentoml", 0.55),
    ("start", "container", "mlflow", 0.4),
    ("start", "container", "handwritten", 0.9),
    ("packed", "container-lean", "bentoml", 0.3),
    ("packed", "container-lean", "mlflow", 0.35),
    ("packed", "container-lean", "handwritten-lean", 0.75),
    ("build", "container", "bentoml", 1.0),
    ("build", "container", "mlflow", 1.0),
    ("build", "container", "handwritten", 1.0),
    ("packed", "venv", "plain-venv", 1.0),
    ("unpacked", "venv", "plain-venv", 1.0),
    ("start", "venv", "plain-venv", 1.0),
    ("packed", "pex", "plain-pex", 1.0),
    ("start", "pex", "plain-pex", 1.0),
    ("first start", "pex", "plain-pex", 0.6),
)
UNITS = {"packed": "MB", "unpacked": "MB", "build": "s", "start": "s", "first start": "s"}
_START_S = 180.0


# --- what everybody gets --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The place of the comparison: the model, the engine, the base, the mirror, the tools' environments."""

    locked: LockedModel
    running: Engine
    base: BaseImage
    lean: BaseImage
    mirror: str
    folder: Path
    pythons: Mapping[str, Path]

    @property
    def limits(self) -> Limits:
        """The same for everybody."""
        resources = self.locked.model.file.resources
        return Limits(
            memory_bytes=resources.memory_mb * 2**20,
            processes=resources.processes,
            disk_bytes=resources.disk_mb * 2**20,
            start_timeout_s=resources.start_timeout_s,
            predict_timeout_s=resources.predict_timeout_s,
        )


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """Everything made that is not there yet, the engine and the mirror running."""
    place = paths.cache() / "peers"
    place.mkdir(exist_ok=True)
    locked = weights.locked(models.find(MODEL))
    with engine.session(say=tell) as running, process.temporary_folder("peers", readable=True) as folder:
        archive, debs = base_archive(place)
        house = wheelhouse(place, locked)
        pythons = {tool: tool_environment(place, tool) for tool in ("bentoml", "mlflow")}
        for name in os.listdir(debs):
            os.link(debs / name, made(folder / "mirror" / "debian") / name)
        write_index(house, folder / "mirror")
        write_packages(folder / "mirror" / "debian")
        with served(folder / "mirror") as mirror:
            container.prepare(locked.model)
            pex.prepare(locked.model)
            at = Stage(
                locked=locked,
                running=running,
                base=point_at(running, folder, load_base(running, archive), mirror),
                lean=images.base(running, interpreter.default().minor),
                mirror=mirror,
                folder=folder,
                pythons=pythons,
            )
            with based_on(at.base):
                to_build_in = images.build_base(running, interpreter.default().minor)
            try:
                yield at
            finally:
                for tag in (to_build_in.tag, at.base.tag):  # they know the port of this run's mirror
                    builds.remove_image(running, tag)


def based_on(base: BaseImage) -> contextlib.AbstractContextManager[object]:
    """Have our images built from ``base``, for a block."""
    return mock.patch.object(images, "base", return_value=base)


def base_archive(place: Path) -> tuple[Path, Path]:
    """The root file system of the base image, and Debian's packages for the mirror."""
    minor = interpreter.default().minor
    script = DATA / "base_image.sh"
    key = hashlib.sha256(script.read_bytes() + minor.encode()).hexdigest()[:12]
    archive, debs = place / f"base-{key}.tar", place / f"debs-{key}"
    if archive.is_file():
        return archive, debs
    tell(f"making the base image that everybody builds from (Debian {images.SUITES[minor]}, about a minute)")
    packages = "usr-is-merged,usrmerge-,python3,python3-venv,python3-distutils,ca-certificates,media-types"
    with process.temporary_folder("base", readable=True) as folder:
        argv = ["mmdebstrap", "--variant=minbase", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"]
        argv += [f"--include={packages}", '--aptopt=APT::Install-Recommends "false"']
        argv += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")]
        argv += [
            f'--customize-hook=sh "{script}" "$1" {minor}',
            f"--customize-hook=copy-out /var/cache/apt/archives {folder}",
        ]
        argv += [images.SUITES[minor], str(folder / "root.tar")]
        checked(process.run(argv, env=process.network_environment(folder), timeout_s=1200))
        shutil.rmtree(debs, ignore_errors=True)
        debs.mkdir()
        for deb in (folder / "archives").glob("*.deb"):
            shutil.move(deb, debs / deb.name)
        shutil.move(folder / "root.tar", archive)
    return archive, debs


def load_base(running: Engine, archive: Path) -> str:
    """The archive as an image of one layer; its tag."""
    tag = f"{images.REPOSITORY}-peers:{archive.stem}"
    if builds.image_id(running, tag) is None:
        changes = ["ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "ENV LANG=C.UTF-8"]
        repository, _, name = tag.partition(":")
        with engine.asking(running, "importing the base image") as asked:
            asked.import_image_from_file(str(archive), repository=repository, tag=name, changes=changes)
    return tag


def point_at(running: Engine, folder: Path, raw: str, mirror: str) -> BaseImage:
    """The base image with this run's mirror in the configuration of apt, pip and uv."""
    minor = interpreter.default().minor
    context = made(folder / "base")
    (context / "sources.list").write_text(f"deb [trusted=yes] {mirror}/debian ./\n")
    # Trusted, because pip keeps what it fetches in its cache only then: as it does with what comes from PyPI.
    host = urlsplit(mirror).hostname
    (context / "pip.conf").write_text(f"[global]\nindex-url = {mirror}/simple\ntrusted-host = {host}\n")
    (context / "uv.toml").write_text(f'[[index]]\nurl = "{mirror}/simple"\ndefault = true\n')
    text = f"FROM {raw}\nCOPY sources.list /etc/apt/\nCOPY pip.conf /etc/\nCOPY uv.toml /etc/uv/\n"
    tag = f"{images.REPOSITORY}-peers:run"
    built = builds.build_image(running, context, text, tag)
    return BaseImage(
        reference=built.id,
        tag=tag,
        source="made for the comparison",
        python=f"/usr/bin/python{minor}",
        python_minor=minor,
        packages=(),
    )


def wheelhouse(place: Path, locked: LockedModel) -> Path:
    """Every wheel that anybody installs, fetched once, by hash."""
    house = made(place / "wheels")
    for name in LOCKS:
        lock = DATA / f"{name}.txt"
        done = house / f".{name}-{tree.sha256(lock)[:16]}"
        if not done.exists():
            tell(f"fetching the wheels of {name}")
            argv = [str(tools.executable("pip")), "download", "--quiet", "--no-deps", "--require-hashes"]
            argv += ["--only-binary", ":all:", "--no-cache-dir", "--dest", str(house), "-r", str(lock)]
            checked(process.run(argv, env=process.network_environment(place), timeout_s=3600))
            done.touch()
    for wheel in locked.lock.wheels.iterdir():
        if not (house / wheel.name).exists():
            os.link(wheel, house / wheel.name)
    return house


def tool_environment(place: Path, tool: str) -> Path:
    """The interpreter of the tool's own environment."""
    lock = DATA / f"{tool}.txt"
    folder = place / f"{tool}-{tree.sha256(lock)[:16]}"
    if not (folder / "complete").is_file():
        tell(f"making the environment of {tool}")
        shutil.rmtree(folder, ignore_errors=True)
        env = tools.uv_environment()
        python = str(interpreter.default().path)
        checked(process.run([str(tools.uv()), "venv", "--python", python, str(folder)], env=env, timeout_s=60))
        argv = [str(tools.uv()), "pip", "sync", "--python", str(folder / "bin/python"), "--compile-bytecode"]
        argv += ["--require-hashes", "--no-index", "--find-links", str(place / "wheels"), str(lock)]
        checked(process.run(argv, env=env, timeout_s=1200))
        (folder / "complete").touch()
    return folder / "bin" / "python"


# --- the mirror -----------------------------------------------------------------------------------


def write_index(house: Path, mirror: Path) -> None:
    """PyPI's simple interface (PEP 503) with metadata files (PEP 658), as static files."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for wheel in sorted(house.glob("*.whl")):
        name = parse_wheel_filename(wheel.name)[0]
        with zipfile.ZipFile(wheel) as archive:
            inside = next(one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
            metadata = archive.read(inside)
        files = made(mirror / "files")
        os.link(wheel, files / wheel.name)
        (files / f"{wheel.name}.metadata").write_bytes(metadata)
        known = f"sha256={hashlib.sha256(metadata).hexdigest()}"
        href = f"../../files/{wheel.name}#sha256={tree.sha256(wheel)}"
        found[str(name)].append(f'<a href="{href}" data-core-metadata="{known}">{wheel.name}</a><br>')
    for name, links in found.items():
        page = "<!DOCTYPE html><html><body>\n" + "\n".join(links) + "\n</body></html>\n"
        (made(mirror / "simple" / name) / "index.html").write_text(page)


def write_packages(folder: Path) -> None:
    """The list of a Debian archive of one folder: each package's own description, and where the file is."""
    entries = []
    for deb in sorted(folder.glob("*.deb")):
        described = process.run(["dpkg-deb", "--field", str(deb)], env=process.environment(folder), timeout_s=60)
        checked(described)
        with deb.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        where = f"Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
        entries.append(described.stdout.strip() + "\n" + where)
    (folder / "Packages").write_text("\n".join(entries))


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, says nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def end_headers(self) -> None:
        if self.path.endswith(".whl"):  # as PyPI says of its files: pip keeps them in its cache where it may
            self.send_header("Cache-Control", "max-age=365000000, immutable, public")
        super().end_headers()


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder on a port of loopback; its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


# --- images ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Served:
    """How an image that serves HTTP is asked, and what of its answer is compared."""

    port: int
    path: str
    answers: Callable[[Json], Json]
    expected: Callable[[Json], Json] = lambda outputs: outputs


SERVED = {
    "bentoml": Served(port=3000, path="/predict", answers=lambda said: said),
    "mlflow": Served(
        port=8080,
        path="/invocations",
        answers=lambda said: said["predictions"],
        expected=lambda outputs: [one["probabilities"] for one in outputs],
    ),
    "handwritten": Served(port=8000, path="/predict", answers=lambda said: said["outputs"]),
}


def docker_environment(at: Stage, home: Path, **more: str) -> dict[str, str]:
    """What ``docker`` and the tools that call it are given: the engine, its classic builder, the mirror."""
    with_docker = made(home / "bin")
    # A newer client without buildx refuses; Debian's own builds either way.
    client = next((one for one in ("/usr/bin/docker", shutil.which("docker") or "") if os.access(one, os.X_OK)), None)
    if client is None:
        raise MissingComponent("there is no docker command", remedy="apt-get install docker.io")
    (with_docker / "docker").unlink(missing_ok=True)
    (with_docker / "docker").symlink_to(client)
    env = process.environment(home, DOCKER_HOST=at.running.url, DOCKER_BUILDKIT="0", BASE_IMAGE=at.base.tag, **more)
    env |= {"UV_DEFAULT_INDEX": f"{at.mirror}/simple", "UV_CACHE_DIR": str(home / "uv"), "DO_NOT_TRACK": "1"}
    env |= {"BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true", "UV_PYTHON_DOWNLOADS": "never"}
    return {**env, "PATH": f"{with_docker}:{env['PATH']}"}


def requirements(at: Stage) -> str:
    """The model's requirements, exactly those that are locked."""
    return "".join(f"{name}=={version}\n" for name, version in at.locked.lock.packages)


def build_container(at: Stage, work: Path, base: BaseImage | None = None) -> Artifact:
    """Ours."""
    with process.temporary_folder("tools") as cache, based_on(base or at.base):
        return container.build(at.locked, work, BuildOptions(tool_cache=cache))


def build_handwritten(at: Stage, work: Path, base: BaseImage | None = None) -> str:
    """A careful engineer's; ``base`` is what the last stage is built from."""
    context = made(work / "context")
    shutil.copytree(at.locked.payload, context / "model")
    shutil.copyfile(DATA / "app.py", context / "app.py")
    (context / "requirements.txt").write_text(requirements(at) + "fastapi\nuvicorn\n")
    shutil.copytree(at.folder / "mirror" / "files", context / "wheels", copy_function=os.link)
    wanted = set(served_wheels(at))
    for wheel in (context / "wheels").iterdir():
        if wheel.name not in wanted:
            wheel.unlink()
    text = (DATA / "handwritten.Dockerfile").read_text().replace("{build_base}", at.base.tag)
    text = text.replace("{base}", (base or at.base).tag)
    return builds.build_image(at.running, context, text, tag_of("handwritten", work), no_cache=True).tag


def served_wheels(at: Stage) -> Iterator[str]:
    """The wheels of the model, and of FastAPI and uvicorn."""
    yield from (wheel.name for wheel in at.locked.lock.wheels.iterdir())
    locked = {line.split("==")[0]: line.split("==")[1].split()[0] for line in pinned(DATA / "served.txt")}
    for wheel in (at.folder / "mirror" / "files").glob("*.whl"):
        name, version, _, _ = parse_wheel_filename(wheel.name)
        if locked.get(str(name)) == str(version):
            yield wheel.name


def pinned(lock: Path) -> list[str]:
    """The lines of a lock that pin a package."""
    return [line for line in lock.read_text().splitlines() if "==" in line and not line.startswith((" ", "#"))]


def build_bentoml(at: Stage, work: Path) -> str:
    """``bentoml build`` and ``bentoml containerize``."""
    project = made(work / "project")
    shutil.copytree(at.locked.payload, project / "model")
    text = (DATA / "service.py").read_text().replace("{minor}", interpreter.default().minor)
    (project / "service.py").write_text(text.replace("{requirements}", " ".join(requirements(at).split())))
    env = docker_environment(at, work, BENTOML_HOME=str(work / "bentoml"))
    program = str(at.pythons["bentoml"].with_name("bentoml"))
    env["PATH"] = f"{at.pythons['bentoml'].parent}:{env['PATH']}"
    made_bento = process.run(
        [program, "build", "service:Digits", "--output", "tag"], env=env, cwd=project, timeout_s=900
    )
    checked(made_bento)
    bento = made_bento.stdout.strip().splitlines()[-1].partition("__tag__:")[2]
    tag = tag_of("bentoml", work)
    argv = [program, "containerize", bento, "--image-tag", tag, "--opt", "network=host", "--opt", "no-cache"]
    checked(process.run(argv, env=env, cwd=project, timeout_s=1800))
    return tag


def save_mlflow(at: Stage) -> Path:
    """The model as MLflow keeps it, made once: this is training's business, not packaging's."""
    target = at.folder / "mlflow-model"
    if not target.is_dir():
        forest = at.locked.payload / at.locked.model.file.artifacts[0].path
        listed = at.folder / "mlflow-requirements.txt"
        listed.write_text(requirements(at))
        argv = [str(at.pythons["mlflow"]), str(DATA / "save_mlflow.py"), str(forest), str(listed), str(target)]
        checked(process.run(argv, env=docker_environment(at, at.folder), cwd=at.folder, timeout_s=300))
    return target


def build_mlflow(at: Stage, work: Path) -> str:
    """``mlflow models generate-dockerfile``, then ``docker build``."""
    env = docker_environment(at, work)
    context = work / "context"
    argv = [str(at.pythons["mlflow"]), "-m", "mlflow", "models", "generate-dockerfile"]
    argv += ["--model-uri", str(save_mlflow(at)), "--output-directory", str(context), "--env-manager", "local"]
    checked(process.run(argv, env=env, cwd=work, timeout_s=300))
    file = context / "Dockerfile"
    lines = file.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("FROM python:"))
    lines[first] = f"FROM {at.base.tag}"
    file.write_text("\n".join(lines) + "\n")
    tag = tag_of("mlflow", work)
    argv = ["docker", "build", "--no-cache", "--network", "host", "--tag", tag, str(context)]
    checked(process.run(argv, env=env, cwd=work, timeout_s=1800))
    return tag


def tag_of(tool: str, work: Path) -> str:
    """A tag of this build's own."""
    return f"peers/{tool}:{hashlib.sha256(str(work).encode()).hexdigest()[:12]}"


BUILDERS: Mapping[str, Callable[[Stage, Path], Artifact | str]] = {
    "container": build_container,
    "bentoml": build_bentoml,
    "mlflow": build_mlflow,
    "handwritten": build_handwritten,
}


# --- measuring ------------------------------------------------------------------------------------


@dataclass
class Values:
    """``values[what][whose][round]``."""

    values: defaultdict[str, defaultdict[str, dict[int, float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )

    def add(self, what: str, whose: str, number: int, value: float) -> None:
        self.values[what][whose][number] = value


def measure_images(at: Stage, values: Values, *, rounds: int, times: int, chance: random.Random) -> None:
    """Builds in turns, sizes from a registry's manifest, starts in turns."""
    made_last: dict[str, Artifact | str] = {}
    for number in range(times):
        for whose in shuffled(BUILDERS, chance):
            tell(f"build {number + 1} of {times}: {whose}")
            work = made(at.folder / f"{whose}-{number}")
            if whose == "mlflow":
                save_mlflow(at)
            begin = time.monotonic()
            made_now = BUILDERS[whose](at, work)
            values.add("build", whose, number, time.monotonic() - begin)
            if whose in made_last:
                remove(at, made_last[whose])
            made_last[whose] = made_now
    lean: dict[str, Artifact | str] = {}
    try:
        tell("once more on the harness's own base, for their sizes")
        lean["container-lean"] = build_container(at, made(at.folder / "container-lean"), at.lean)
        lean["handwritten-lean"] = build_handwritten(at, made(at.folder / "handwritten-lean"), at.lean)
        with registry.session() as store:
            for whose, one in (made_last | lean).items():
                tell(f"size: {whose}")
                image = image_of(one)
                pushed = registry.push(store, at.running, image, name=whose)
                values.add("packed", whose, 0, pushed.packed_bytes / 1e6)
                values.add("unpacked", whose, 0, builds.unpacked_size(at.running, image).total_bytes / 1e6)
            for whose, one in lean.items():
                started(at, whose.removesuffix("-lean"), one)  # it answers right there as well
            for whose, tag in (("(base)", at.base.tag), ("(base-lean)", at.lean.tag)):
                values.add("packed", whose, 0, registry.push(store, at.running, tag, name="base").packed_bytes / 1e6)
        for number in range(-1, rounds):
            for whose in shuffled(made_last, chance):
                tell(f"start {number + 1} of {rounds}: {whose}")
                seconds = started(at, whose, made_last[whose])
                if number >= 0:  # the first brings the image into memory
                    values.add("start", whose, number, seconds)
    finally:
        for one in (made_last | lean).values():
            remove(at, one)


def started(at: Stage, whose: str, made_now: Artifact | str) -> float:
    """Seconds to the first correct prediction."""
    if isinstance(made_now, Artifact):
        taken = start.take(
            container, Installed(artifact=made_now, image=made_now.image), at.limits, at.locked.model, "page-warm"
        )
        return taken.values["cold_start_s"]
    return http_start(at, SERVED[whose], made_now)


def http_start(at: Stage, how: Served, image: str) -> float:
    """Create and start a container without a network, and ask it inside until it answers right."""
    examples = at.locked.model.examples
    body = json.dumps({"inputs": list(examples.inputs[:1])})
    expected = how.expected(list(examples.outputs[:1]))
    name = f"mlph-{secrets.token_hex(6)}"
    with contextlib.ExitStack() as stack:
        if at.running.socket:
            stack.enter_context(process.guarded(container=name, engine=str(at.running.socket)))
        asked = stack.enter_context(engine.asking(at.running, f"starting {image}"))
        bounds = asked.create_host_config(
            network_mode="none",
            mem_limit=at.limits.memory_bytes,
            memswap_limit=at.limits.memory_bytes,
            pids_limit=at.limits.processes,
        )
        begin = time.monotonic()
        made_now = asked.create_container(image=image, name=name, host_config=bounds)["Id"]
        stack.callback(asked.remove_container, name, force=True, v=True)
        asked.start(made_now)
        inside = stack.enter_context(namespaces.Inside(asked.inspect_container(made_now)["State"]["Pid"]))
        said: Json = None
        while time.monotonic() - begin < _START_S:
            said = ask(inside, how, body)
            answered = time.monotonic()
            if said is not None and answers_match(expected, how.answers(said), at.locked.model.file.examples.tolerance):
                return answered - begin
            time.sleep(0.002)
        printed = asked.logs(made_now, tail=30).decode(errors="replace")
        raise BuildFailure(f"{image} did not answer right, but {str(said)[:300]}", log=printed)


def ask(inside: namespaces.Inside, how: Served, body: str) -> Json:
    """The answer; None where there is none yet."""
    try:
        socket = inside.connect(how.port)
    except OSError:
        return None
    connection = http.client.HTTPConnection("127.0.0.1", how.port, timeout=60)
    connection.sock = socket
    with contextlib.closing(connection):
        try:
            connection.request("POST", how.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException):
            return None
    return json.loads(text) if response.status == http.client.OK else None


def image_of(made_now: Artifact | str) -> str:
    """Its tag."""
    if isinstance(made_now, str):
        return made_now
    assert made_now.image is not None
    return made_now.image


def remove(at: Stage, made_now: Artifact | str) -> None:
    """The image, and what its build left."""
    builds.remove_image(at.running, image_of(made_now))
    with engine.asking(at.running, "removing what builds left") as asked:
        asked.prune_images(filters={"dangling": True})


# --- environments and files -----------------------------------------------------------------------


def plain_venv(at: Stage, work: Path) -> Artifact:
    """``python -m venv`` and ``pip install -r``, the runner and the model put among its packages."""
    folder = work / "venv"
    python = str(interpreter.default().path)
    env = process.environment(work, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(at.locked.lock.wheels), PIP_NO_CACHE_DIR="1")
    checked(process.run([python, "-m", "venv", str(folder)], env=env, timeout_s=120))
    (work / "requirements.txt").write_text(requirements(at))
    argv = [str(folder / "bin" / "pip"), "install", "--quiet", "-r", str(work / "requirements.txt")]
    checked(process.run(argv, env=env, timeout_s=900))
    layout.write_sources(
        at.locked, environments.site_packages(folder, interpreter.default()), bytecode="unchecked-hash"
    )
    return Artifact(method="venv", model=MODEL, digest="", path=folder)


def plain_pex(at: Stage, work: Path) -> Artifact:
    """``pex -r requirements.txt -D sources -e harness_runner -o digits-forest.pex``."""
    sources, file = made(work / "sources"), work / f"{MODEL}.pex"
    layout.write_sources(at.locked, sources, bytecode="none")
    (work / "requirements.txt").write_text(requirements(at))
    argv = [str(tools.executable("pex")), "-r", str(work / "requirements.txt"), "-D", str(sources)]
    argv += ["-e", "harness_runner", "-o", str(file), "--python", str(interpreter.default().path)]
    argv += ["--no-pypi", "--find-links", str(at.locked.lock.wheels)]  # from the same wheels as ours
    checked(process.run(argv, env=process.environment(work, PEX_ROOT=str(work / "tool")), timeout_s=900))
    return Artifact(method="pex", model=MODEL, digest="", path=file)


def build_with(method: Any) -> Callable[[Stage, Path], Artifact]:
    """Ours."""

    def build(at: Stage, work: Path) -> Artifact:
        with process.temporary_folder("tools") as cache:
            artifact: Artifact = method.build(at.locked, work, BuildOptions(tool_cache=cache))
            return artifact

    return build


def plain_start(installed: Installed, limits: Limits) -> contextlib.AbstractContextManager[Any]:
    """``python FILE.pex``: what PEX makes by its defaults is started by an interpreter."""
    assert installed.root is not None
    assert installed.artifact.path is not None
    argv = [str(interpreter.default().path), str(installed.artifact.path), "serve", "--socket"]
    extraction = installed.extraction_caches[0]
    return hosted.serving(
        installed, limits, lambda socket: [*argv, str(socket)], writable=[extraction], PEX_ROOT=str(extraction)
    )


PLAIN_PEX = SimpleNamespace(start=plain_start, remove=pex.remove)

HOSTED: Mapping[str, tuple[Any, Callable[[Stage, Path], Artifact]]] = {
    "venv": (venv, build_with(venv)),
    "plain-venv": (venv, plain_venv),
    "pex": (pex, build_with(pex)),
    "plain-pex": (PLAIN_PEX, plain_pex),
}


def measure_hosted(at: Stage, values: Values, *, rounds: int, times: int, chance: random.Random) -> None:
    """The same for environments and files: sizes, builds, starts; a PEX's first start has an empty extraction root."""
    installed: dict[str, Installed] = {}
    for number in range(times):
        for whose in shuffled(HOSTED, chance):
            tell(f"build {number + 1} of {times}: {whose}")
            work = made(at.folder / f"{whose}-{number}")
            work.chmod(0o755)
            begin = time.monotonic()
            artifact = HOSTED[whose][1](at, work)
            values.add("build", whose, number, time.monotonic() - begin)
            if whose in installed:
                HOSTED[whose][0].remove(installed[whose].artifact)
            installed[whose] = on_node(at, whose, artifact, work)
    for whose, one in installed.items():
        path = one.artifact.path
        assert path is not None
        folder = path.is_dir()
        packed = hosted.archive_of(one.artifact) if folder else path
        values.add("packed", whose, 0, packed.stat().st_size / 1e6)
        values.add("unpacked", whose, 0, (tree.size(path)[0] if folder else path.stat().st_size) / 1e6)
    for number in range(-1, rounds):
        for whose in shuffled(HOSTED, chance):
            tell(f"start {number + 1} of {rounds}: {whose}")
            method, one = HOSTED[whose][0], installed[whose]
            for cache in one.extraction_caches:
                shutil.rmtree(cache)
                fresh_extraction(cache)
            for what in ("first start", "start") if one.extraction_caches else ("start",):
                taken = start.take(method, one, at.limits, at.locked.model, "page-warm")
                if number >= 0:
                    values.add(what, whose, number, taken.values["cold_start_s"])


def on_node(at: Stage, whose: str, artifact: Artifact, work: Path) -> Installed:
    """Where it was built: an environment made by ``python -m venv`` can't be moved."""
    assert artifact.path is not None
    if artifact.path.is_dir():
        return hosted.installed_at(artifact, artifact.path)
    extraction = fresh_extraction(work / "pex_root")
    artifact.path.chmod(0o755)
    return replace(hosted.installed_at(artifact, artifact.path.parent), extraction_caches=(extraction,))


def fresh_extraction(folder: Path) -> Path:
    """An empty folder that the instance may write to, in one that becomes a disk of its own."""
    return made(folder.parent / "extracted" / folder.name)


# --- the outcome ----------------------------------------------------------------------------------


def outcome(values: Values) -> dict[str, Any]:
    """Medians, and each ratio with its interval, its target, and whether it is met."""
    medians = {
        what: {whose: round(median(each.values()), 4) for whose, each in by.items()}
        for what, by in values.values.items()
    }
    rows = []
    for what, ours, theirs, target in TARGETS:
        found = bootstrap.ratio(values.values[what][ours], values.values[what][theirs])
        if found is not None:
            row = {"what": what, "ours": ours, "against": theirs, "ratio": round(found.median, 4)}
            row |= {"low": round(found.low, 4), "high": round(found.high, 4), "rounds": found.n, "target": target}
            rows.append({**row, "met": found.median <= target})
    return {"model": MODEL, "targets": rows, "medians": medians, "values": values.values}


def print_outcome(found: Mapping[str, Any]) -> None:
    """The tables, for people."""
    for what, by in found["medians"].items():
        print(f"\n{what} ({UNITS[what]}): " + "   ".join(f"{whose} {value:.2f}" for whose, value in sorted(by.items())))
    print(f"\n{'':13}{'ours':16}{'against':18}{'ratio':>7}  {'95 % interval':16}{'n':>3}{'target':>9}")
    for row in found["targets"]:
        interval = f"[{row['low']:.3f}, {row['high']:.3f}]"
        verdict = "met" if row["met"] else "NOT MET"
        print(
            f"{row['what']:13}{row['ours']:16}{row['against']:18}{row['ratio']:7.3f}  {interval:16}{row['rounds']:>3}"
            f"{row['target']:>8.2f}  {verdict}"
        )


def shuffled(names: Mapping[str, Any], chance: random.Random) -> list[str]:
    """The names in random order."""
    return chance.sample(sorted(names), len(names))


def made(folder: Path) -> Path:
    """The folder, made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def checked(done: process.Completed) -> None:
    """BuildFailure with what it printed where a tool failed."""
    if done.returncode != 0:
        raise BuildFailure(f"{' '.join(done.argv[:4])} ended with exit code {done.returncode}", log=done.output)


def tell(what: str) -> None:
    """What is being done, for whoever waits."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def main(argv: list[str]) -> int:
    """Measure and print; 3 where something that is needed is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="rounds of starts (10)")
    parser.add_argument("--builds", type=int, default=3, help="builds of each (3)")
    parser.add_argument("--seed", type=int, default=20230127, help="of the random order")
    parser.add_argument("--only", choices=["images", "hosted"], help="half of it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value there")
    args = parser.parse_args(argv)
    chance, values, code = random.Random(args.seed), Values(), 0
    try:
        with stage() as at:
            if args.only != "hosted":
                measure_images(at, values, rounds=args.rounds, times=args.builds, chance=chance)
            if args.only != "images":
                measure_hosted(at, values, rounds=args.rounds, times=args.builds, chance=chance)
    except HarnessError as error:
        print(f"{error}\n{getattr(error, 'log', '')}", file=sys.stderr)
        code = error.exit_code
    found = outcome(values)  # what was measured until then, too
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    print_outcome(found)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
