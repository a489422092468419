"""What the methods share whose artifact is an image in a Docker engine.

Images are multi-stage, non-root, their bytecode compiled by the interpreter that runs it. The first stage has uv
and the wheels, the last only the base's Python and what was installed and not pruned. Dependencies and model are
layers of their own, so a change of weights does not make the dependencies travel again.

Bytecode is as large as its source, and an environment has far more modules than a model uses. So where the
recipe's start is the runner's, the first stage is started once, in the bounds of any instance, and asked for the
examples: the modules that it loads are compiled, no others. What a model loads only for other inputs is then
compiled in memory when it is first asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import ceiling, files, paths, tools, tree
from harness import door as doors
from harness.errors import BadInput, BuildFailure, EngineGone, HarnessError, MissingComponent
from harness.interpreter import Interpreter
from harness.methods import layout, mending, placement, pruning, variants
from harness.methods.contract import Artifact, Availability, BuildOptions, Installed, Limits, Sizes
from harness.methods.serving import SOCKET_NAME, Http, Port, Served, UnixSocket
from harness.platforms import builds, containers, engine, images, namespaces
from harness.platforms.depot import Depot
from harness.sandbox import UNPRIVILEGED_ID, new_user
from harness.spec import environments, pythons
from harness.spec.model import Model
from harness.spec.weights import LockedModel

_REPOSITORY = "ml-packaging-harness"
_SHARED = "/run/harness"  # the folder inside that the socket lies in
_WEIGHTS = "/weights"  # where weights are shown that are not in the image
_PYTHONPATH = "/app/model:/app/dependencies"
_USED = paths.PACKAGE / "resources" / "imaging" / "used.py"
_KEEP = "keep.txt"  # what pruning must leave
_REST = "rest"  # the folder that the second stage is built from
_LARGEST_LIST = 8 * 2**20

_STAGE = """\
FROM {build_base} AS build
ENV {env}
COPY build /build
{install}
COPY model /app/model
"""

_IMAGE = """\
{compile}
FROM {base}
COPY --from=build /app/dependencies /app/dependencies
COPY --from=build /app/model /app/model
ENV {env}
USER {user}:{user}
WORKDIR {workdir}
ENTRYPOINT {entrypoint}
CMD {command}
"""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What tells one image method from another.

    ``module`` is what Python runs (``python -m``), ``command`` its arguments unless others are given.
    ``packages`` are folders of ours that are put beside the runner. ``model`` is False where the model's files
    reach the platform by other ways than in the image. ``measured_bytecode`` compiles what the examples load only.
    """

    module: str
    command: Sequence[str] = ()
    packages: Sequence[Path] = ()
    model: bool = True
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/tmp"  # noqa: S108 -- inside
    measured_bytecode: bool = False


def check(*, port: bool = False) -> Availability:
    """Ready where a Docker engine answers, and, for a server that only speaks TCP, where it can be reached."""
    try:
        found = engine.connect()
    except HarnessError as error:
        return Availability(ready=False, reason=error.problem, remedy=error.remedy)
    why = _out_of_reach(found) if port else ""
    if why:
        remedy = "run the harness on the machine of the engine, as the user who runs that"
        return Availability(ready=False, reason=f"its server can't be reached without a network: {why}", remedy=remedy)
    return Availability(ready=True)


def _out_of_reach(running: engine.Engine) -> str:
    """Why nobody of ours gets into the network namespaces of the engine's containers; empty where that can be done."""
    if running.socket is None:
        return "the engine runs on another machine"
    if os.geteuid() != 0 and not running.rootless:
        return "root runs the engine, and only root may enter the network namespaces of its containers"
    return namespaces.check()


def prepare(model: Model) -> None:
    """Make or fetch the base images; MissingComponent where there is no way to get one."""
    bases(model, pythons.of(model))


def build(method_id: str, recipe: Recipe, locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """An image with a tag of its own, built without the engine's layer cache unless that is to be kept."""
    variants.require(method_id, options, locked.model)
    running = engine.connect()
    base, build_base = bases(locked.model, locked.lock.python)
    weights = placement.kept_apart(locked, options, workdir)
    context = _context(recipe, locked, workdir, options)
    place = f"{method_id}-{locked.model.name}" if method_id != "container" else locked.model.name
    # The engine's cache goes by the label on each stage, which is the tag.
    of = options.tool_cache if options.keep_cache else workdir
    tag = f"{_REPOSITORY}/{place}:{hashlib.sha256(str(of).encode()).hexdigest()[:12]}"
    known = None
    if recipe.measured_bytecode and options.bytecode != "none" and locked.lock.packages:
        known = _built_by_use(running, recipe, locked, workdir, options, context, tag, weights)
    if known is None:
        text = dockerfile(recipe, locked, base, build_base, options)
        known = (
            builds.build_image(
                running, context, text, tag, no_cache=not options.keep_cache, timeout_s=options.timeout_s
            ),
            options.bytecode,
        )
    built, bytecode = known
    for folder in (context, workdir / _REST):  # the model with its weights is in the payload, and in the image
        files.remove(folder)
    return Artifact(
        method=method_id,
        model=locked.model.name,
        digest=built.id,
        path=weights,
        image=tag,
        facts={
            **placement.facts(locked, options),
            "engine": running.described,
            "base": base.source,
            "base_image": base.reference,
            "base_layers": str(base.layers),
            "pruned": ", ".join(mending.rules(locked.model, options)) or "nothing",
            "bytecode": bytecode,
        },
    )


def _built_by_use(
    running: engine.Engine,
    recipe: Recipe,
    locked: LockedModel,
    workdir: Path,
    options: BuildOptions,
    context: Path,
    tag: str,
    weights: Path | None,
) -> tuple[builds.BuiltImage, str] | None:
    """The image with the bytecode of what the examples load, and how much that is; None where they are not answered."""
    base, build_base = bases(locked.model, locked.lock.python)
    stage_tag = _stage_of(tag)
    with contextlib.ExitStack() as stack:
        stack.callback(_forget, running, stage_tag)
        first = stage(locked, build_base, options, compiled=False)
        builds.build_image(
            running, context, first, stage_tag, no_cache=not options.keep_cache, timeout_s=options.timeout_s
        )
        used = _modules_used(running, stage_tag, build_base.python, locked, options, weights)
        if used is None:
            return None
        rest = layout.fresh_folder(workdir, _REST)
        (rest / "used.txt").write_text("\n".join(used))
        second = f"FROM {stage_tag} AS build\nCOPY used.txt /build/used.txt\n"
        second += image(recipe, base, build_base, options, used="/build/used.txt")
        built = builds.build_image(
            running, rest, second, tag, no_cache=not options.keep_cache, timeout_s=options.timeout_s
        )
        if options.keep_cache:
            stack.pop_all()
    return built, f"{options.bytecode}, of the {len(used)} modules that the examples load"


def _context(recipe: Recipe, locked: LockedModel, workdir: Path, options: BuildOptions) -> Path:
    """What the builder is given: ``build/`` for the first stage alone, and ``model/``."""
    context = layout.fresh_folder(workdir, "context")
    wheels = context / "build" / "wheels"
    wheels.mkdir(parents=True)
    for wheel in locked.lock.wheels.iterdir():
        os.link(wheel, wheels / wheel.name)
    (context / "build" / "requirements.txt").write_bytes(locked.lock.requirements.read_bytes())
    for file in (Path(pruning.__file__), _USED):
        shutil.copyfile(file, context / "build" / file.name)
    (context / "build" / _KEEP).write_text("".join(f"{name}\n" for name in mending.kept(options)), encoding="utf-8")
    layout.write_sources(
        locked,
        context / "model",
        bytecode="none",
        model=recipe.model,
        weights=options.weights,
        pruned=mending.rules(locked.model, options),
    )
    for package in recipe.packages:
        tree.copy(package, context / "model" / package.name, keep=lambda path: "__pycache__" not in path.parts)
    return context


def _modules_used(
    running: engine.Engine,
    stage_tag: str,
    python: str,
    locked: LockedModel,
    options: BuildOptions,
    weights: Path | None,
) -> list[str] | None:
    """The files below ``/app`` of the modules that answering the examples loads; None where it does not answer.

    What is wrong with a model is found out, and said, where it is started; no build fails of it.
    """
    bounds, patience = environments.bounds(locked.model), ceiling.bounded(locked.model.file.resources)
    user = new_user() or os.getuid()
    with doors.workspace(bounds.disk_bytes) as disk:
        shared = _shared_folder(disk, user)
        examples = shared / "examples.json"
        examples.write_text(json.dumps(list(locked.model.examples.inputs)))
        examples.chmod(0o644)
        env = {"HOME": "/tmp", "PYTHONPATH": _PYTHONPATH, "PYTHONDONTWRITEBYTECODE": "1"}  # noqa: S108 -- inside
        if weights is not None:
            env |= placement.environment(_WEIGHTS, _SHARED)
        try:
            with containers.running(
                running,
                stage_tag,
                entrypoint=[python, f"/build/{_USED.name}", f"{_SHARED}/examples.json", f"{_SHARED}/used"],
                mounts={shared: _SHARED},
                shown={weights: _WEIGHTS} if weights is not None else {},
                env=env,
                memory_bytes=bounds.memory_bytes,
                processes=bounds.processes,
                user=f"{user}:{user}",
            ) as container:
                code = container.wait(min(patience.start_timeout_s, options.timeout_s))
            if code != 0:
                return None
            lines = files.read_text(shared / "used", at_most=_LARGEST_LIST, below=shared).splitlines()
        except (BuildFailure, BadInput, OSError):
            return None
    # The model has written this: nothing but files of the image's own may be named.
    return sorted({line for line in lines if re.fullmatch(r"/app/[\w./+-]+\.py", line) and ".." not in line}) or None


def dockerfile(
    recipe: Recipe, locked: LockedModel, base: images.BaseImage, build_base: images.BaseImage, options: BuildOptions
) -> str:
    """The whole Dockerfile's text, where everything is compiled."""
    return stage(locked, build_base, options, compiled=True) + image(recipe, base, build_base, options)


def stage(locked: LockedModel, build_base: images.BaseImage, options: BuildOptions, *, compiled: bool) -> str:
    """The text of the first stage: dependencies installed, compiled if asked for, and pruned; and the model."""
    install = ["uv", "pip", "install", "--quiet", "--offline", "--no-cache", "--no-index", "--no-deps"]
    install += ["--require-hashes", "--find-links", "/build/wheels", "--python", build_base.python]
    install += ["--target", "/app/dependencies", "--requirement", "/build/requirements.txt"]
    if compiled and options.bytecode != "none":
        install.append("--compile-bytecode")
    steps = [install if locked.lock.packages else [build_base.python, "-c", _MAKE_EMPTY]]
    rules = mending.rules(locked.model, options)
    if locked.lock.packages and rules:
        program = f"/build/{Path(pruning.__file__).name}"
        steps.append([build_base.python, program, "--keep", f"/build/{_KEEP}", "/app/dependencies", *rules])
    mode = options.bytecode.upper().replace("-", "_") if options.bytecode != "none" else "CHECKED_HASH"
    env = {"PYC_INVALIDATION_MODE": mode, **tools.UV_SAME_EVERY_TIME}
    return _STAGE.format(
        build_base=build_base.tag,
        env=" ".join(f"{name}={value}" for name, value in env.items()),
        install=_run(*steps),
    )


def image(
    recipe: Recipe, base: images.BaseImage, build_base: images.BaseImage, options: BuildOptions, *, used: str = ""
) -> str:
    """The text of what follows: the model compiled, and the files that ``used`` lists; and the image itself."""
    compiling = [build_base.python, "-m", "compileall", "-q", "--invalidation-mode", options.bytecode]
    compiling += [*(("-j", "0", "-i", used) if used else ()), "/app/model"]
    env = {"PYTHONPATH": _PYTHONPATH, **recipe.env}
    return _IMAGE.format(
        base=base.tag,
        compile=_run(compiling) if options.bytecode != "none" else "",
        env=" ".join(f"{name}={json.dumps(value)}" for name, value in env.items()),
        user=UNPRIVILEGED_ID,
        workdir=recipe.workdir,
        entrypoint=json.dumps([base.python, "-m", recipe.module]),
        command=json.dumps(list(recipe.command)),
    )


_MAKE_EMPTY = "import os; os.makedirs('/app/dependencies')"


def sizes(artifact: Artifact, depot: Depot) -> Sizes:
    """Packed: the compressed layers as a registry stores them, base included; that is shared. Unpacked: all layers."""
    assert artifact.image is not None
    running = engine.connect()
    unpacked = builds.unpacked_size(running, artifact.image)
    found = Sizes(packed_bytes=None, unpacked_bytes=unpacked.total_bytes, files=unpacked.files)
    try:
        pushed = depot.push(running, artifact.image)
    except MissingComponent as error:
        return replace(found, packed_absent=str(error))
    return replace(
        found,
        packed_bytes=pushed.packed_bytes,
        pieces=pushed.pieces,
        shared_bytes=pushed.lowest_bytes(int(artifact.facts["base_layers"])),
    )


def install(artifact: Artifact, depot: Depot, *more_cold: Path) -> Installed:
    """Have a node that has nothing pull the image; it is started where it was built.

    ``more_cold`` are files of the instance's outside the image.
    """
    assert artifact.image is not None
    running = engine.connect()
    builds.prune_stages(running, artifact.image)
    layers = builds.image_layers(running, artifact.image) or ()
    pulled = depot.pull(running, artifact.image)
    return Installed(
        artifact=artifact,
        image=artifact.image,
        own_paths=(*layers, *more_cold) if layers else (),
        cold_paths=(*layers, *more_cold),
        install_s=pulled.seconds,
        install_fidelity=pulled.fidelity,
        install_absent=pulled.absent,
        install_kept=pulled.kept,
        cold_absent="" if layers else "the engine's layers cannot be seen from here, so their pages cannot be evicted",
        facts=_starts_in(running),
    )


def _starts_in(running: engine.Engine) -> dict[str, str]:
    """What starts are to be known by where the engine is not the one that most platforms run."""
    if not running.rootless:
        return {}
    unbounded = f": {running.unbounded}" if running.unbounded else ""
    return {"starts": f"in an ordinary user's {running.software}, as that user{unbounded}"}


@contextmanager
def serving(
    image: str,
    limits: Limits,
    *,
    command: Sequence[str] | None = None,
    entrypoint: Sequence[str] | None = None,
    http: Http | None = None,
    port: int | None = None,
    mounts: Mapping[Path, str] | None = None,
    env: Mapping[str, str] | None = None,
    installed: Installed | None = None,
) -> Iterator[Served]:
    """``docker run --network none --read-only --cap-drop ALL`` and ask it.

    Without ``port`` it is asked on a socket in a folder shared with the host, which ``{socket}`` in ``command``
    stands for. ``mounts`` are shown to it, read-only. Of the surroundings in ``limits`` only the user matters: an image
    has a root file system of its own, and can't write to it. ``installed`` is given where its weights may not be in
    the image: it is given access to them.
    """
    running = engine.connect()
    around = limits.surroundings
    user = (around.user_id if around is not None else None) or new_user() or os.getuid()
    with doors.workspace(limits.disk_bytes) as disk:
        shared = _shared_folder(disk, user)
        socket = f"{_SHARED}/{SOCKET_NAME}"
        with (
            contextlib.closing(UnixSocket(shared / SOCKET_NAME, owned=True)) as own,
            placement.access(installed, shared, inside=_SHARED, mounted_at=_WEIGHTS) as access,
            placement.answering(access.store),
            containers.running(
                running,
                image,
                command=[part.format(socket=socket) for part in command] if command is not None else None,
                entrypoint=entrypoint,
                mounts={shared: _SHARED} if port is None else {},
                shown={**(mounts or {}), **access.shown},
                env={"HOME": "/tmp", **(env or {}), **access.env},  # noqa: S108 -- inside the container
                memory_bytes=limits.memory_bytes,
                processes=limits.processes,
                cpus=limits.cpus,
                user=f"{user}:{user}",
            ) as container,
        ):
            door = own if port is None else Port(container.pid, port)
            served = Served(container, door, limits, http=http, folder=shared if port is None else None)
            try:
                yield served
            finally:
                served.close()


def _shared_folder(disk: Path, user: int) -> Path:
    """A folder that a container's user may write to, and nobody else may look into."""
    shared = disk / "shared"
    shared.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(shared, user, user)
    return shared


def present(artifact: Artifact) -> bool:
    """Whether the engine that is used now has the image, under its tag and with its digest."""
    try:
        return artifact.image is not None and builds.image_id(engine.connect(), artifact.image) == artifact.digest
    except EngineGone:
        raise  # it may have it
    except HarnessError:
        return False


def remove(artifact: Artifact) -> None:
    """Delete the image with its tag, and what its build left."""
    assert artifact.image is not None
    running = engine.connect()
    _forget(running, artifact.image)
    _forget(running, _stage_of(artifact.image))


def _stage_of(tag: str) -> str:
    """The tag of the first stage, where that is built apart."""
    return f"{tag}-stage"


def _forget(running: engine.Engine, tag: str) -> None:
    """Remove the image with the tag, and the unnamed ones that building it left."""
    builds.remove_image(running, tag)
    builds.prune_stages(running, tag)


def bases(model: Model, python: Interpreter) -> tuple[images.BaseImage, images.BaseImage]:
    """The base image with a Python of that minor version, and the one to build in, with the model's system packages."""
    running, minor = engine.connect(), python.minor
    packages = model.file.system_packages
    return images.base(running, minor, packages=packages), images.build_base(running, minor, packages=packages)


def _run(*steps: Sequence[str]) -> str:
    """One step, one layer: several commands are one for the shell."""
    if len(steps) == 1:
        return f"RUN {json.dumps(list(steps[0]))}"
    return "RUN " + " && ".join(shlex.join(step) for step in steps)
