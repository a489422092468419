"""``lambda-zip``: a zip with handler, dependencies, pruned, and bytecode, as a function of AWS Lambda's Python runtime.

The zip is the same, byte for byte, for the same inputs. Where it is larger unzipped than Lambda allows, more is left
out, step by step, and each step is told; one that is still too large is built all the same, being a result.
It starts in the real Runtime Interface Emulator, with Lambda's share of processors for the memory; what is deployed
goes to a stand-in for AWS, and runs there once. See :mod:`harness.methods.functions` for the user's own account.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
import zipfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from harness import archives, files, process, tools, tree
from harness.errors import BadInput, CheckFailure, DoesNotFit, MissingComponent, ModelFailure
from harness.interpreter import Interpreter
from harness.methods import functions, hosted, imaging, layout, mending, placement, variants
from harness.methods.contract import (
    Artifact,
    Availability,
    BuildOptions,
    Installed,
    Instance,
    Layers,
    Limits,
    Mends,
    Sizes,
)
from harness.platforms import builds, engine, lambda_runtime
from harness.platforms.depot import Depot
from harness.spec import capabilities, environments, pythons
from harness.spec.model import SAFE_PRUNE, Model
from harness.spec.weights import LockedModel

log = logging.getLogger(__name__)

ID = "lambda-zip"
FAMILY = "serverless"
LAYERS = Layers(environment="zip archive", interface="function handler", platform="serverless, AWS Lambda")
FIDELITY = "emulated"
LIMITS = (
    functions.limit("zip of a function, unzipped", functions.UNZIPPED_BYTES, "bytes", metric="unpacked_bytes"),
    functions.limit("zip of a function, uploaded without S3", functions.DIRECT_UPLOAD_BYTES, "bytes"),
    *functions.COMMON_LIMITS,
)
REQUIREMENTS: tuple[str, ...] = ()  # the runtime client is AWS's to bring
REQUIRES = frozenset({"aws"})
PROVIDES = capabilities.given(LAYERS)
MENDS: frozenset[Mends] = frozenset({"prune"})

#: Functions cannot be created with Lambda's runtimes for earlier Pythons: python3.9 was closed for them in early 2026.
_OLDEST_RUNTIME = (3, 10)
_RUNTIMES = "https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html"

#: A zip holds no link, so files that are the same are stored once each.
_NOT_IN_A_ZIP = frozenset({"duplicates"})


def check() -> Availability:
    """Ready where a Docker engine is on this machine, we may enter its containers' network, and boto3 is there."""
    return functions.check()


def prepare(model: Model) -> None:
    """Get the emulator, and make the image that stands for Lambda's Python runtime; DoesNotFit where there is none."""
    python = pythons.of(model)
    if tuple(int(part) for part in python.minor.split(".")) < _OLDEST_RUNTIME:
        raise DoesNotFit(
            f"does not fit: no function can be created with Lambda's runtime for Python {python.minor} ({_RUNTIMES})",
            remedy="lambda-image carries a Python of its own",
        )
    base, _ = imaging.bases(model, python)
    lambda_runtime.image(engine.connect(), base, python)
    lambda_runtime.emulator()


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """``function.zip`` from the wheels, offline."""
    variants.require(ID, options, locked.model)
    folder = layout.fresh_folder(workdir, "function")
    _install(locked, folder, options)
    layout.write_sources(locked, folder, bytecode="none", pruned=mending.rules(locked.model, options))
    handler = functions.HANDLER_PACKAGE
    tree.copy(handler, folder / handler.name, keep=lambda relative: relative.suffix == ".py")
    told = made_to_fit(folder, locked.lock.python, mending.rules(locked.model, options), options)
    bytecode = options.bytecode if any(folder.rglob("*.pyc")) else "none"  # it may have been left out to fit
    archive = workdir / "function.zip"
    pack(folder, archive)
    files.remove(folder)
    functions.keep_examples(locked, workdir / functions.EXAMPLES)
    base, _ = imaging.bases(locked.model, locked.lock.python)
    return Artifact(
        method=ID,
        model=locked.model.name,
        digest=tree.sha256(archive),
        path=archive,
        facts={
            "uv": tools.uv_version(),
            "compiled_by": locked.lock.python.version,
            "pruned": told,
            **placement.facts(locked, options),
            "bytecode": bytecode,
            **functions.asked_facts(locked),
            **lambda_runtime.facts(base),
            "image": lambda_runtime.image(engine.connect(), base, locked.lock.python),
        },
    )


def sizes(artifact: Artifact, depot: Depot) -> Sizes:
    """Packed: the zip. Unpacked: the files in it, which is what Lambda's limit counts."""
    assert artifact.path is not None
    with zipfile.ZipFile(artifact.path) as archive:
        found = archive.infolist()
    unpacked_bytes = sum(entry.file_size for entry in found)
    return hosted.sizes_of_file(artifact.path, unpacked_bytes=unpacked_bytes, files=len(found))


def install(artifact: Artifact, target: Path, depot: Depot) -> Installed:
    """What Lambda does before an environment starts: fetch the zip and unzip it; and deploy it, where it runs once.

    In the user's own account: upload it and wait until AWS calls the function active.
    """
    assert artifact.path is not None
    functions.hold_to_limits(artifact)
    if depot.cloud == "real":
        return functions.installed_on_aws(artifact, functions.deploy_zip(depot.account(), artifact, artifact.path))
    root, copy = target / "task", target / "fetched.zip"
    fetched = depot.fetch(artifact.path, copy)
    begin = time.monotonic()
    with process.ledger.waiting_for("tools"):
        unpack(copy, root)
    unpacking_s = time.monotonic() - begin
    copy.unlink()
    running, image = engine.connect(), artifact.facts["image"]
    layers = builds.image_layers(running, image) or ()
    return Installed(
        artifact=artifact,
        root=root,
        image=image,
        own_paths=(root,),
        cold_paths=(root, lambda_runtime.emulator(), *layers),
        install_s=fetched.seconds + unpacking_s if fetched.seconds is not None else None,
        install_fidelity=fetched.fidelity,
        install_absent=fetched.absent,
        cold_absent="" if layers else "the engine's layers cannot be seen from here, so their pages cannot be evicted",
        facts={"deployed": _deployed_once(artifact, artifact.path, depot)},
    )


def start(installed: Installed, limits: Limits) -> AbstractContextManager[Instance]:
    """The emulator with Lambda's Python runtime, the unzipped function at ``/var/task``, without a network."""
    if installed.elsewhere is not None:
        return installed.elsewhere()
    assert installed.root is not None
    assert installed.image is not None
    emulator, artifact = lambda_runtime.emulator(), installed.artifact
    return imaging.serving(
        installed.image,
        functions.as_on_lambda(artifact, limits),
        entrypoint=[lambda_runtime.EMULATOR, "python3", "-m", "awslambdaric", functions.HANDLER],
        http=functions.HTTP,
        port=lambda_runtime.PORT,
        mounts={installed.root: lambda_runtime.TASK_ROOT, emulator: lambda_runtime.EMULATOR},
        env=functions.emulator_environment(artifact, limits),
    )


def present(artifact: Artifact) -> bool:
    """Whether the zip is there, and the engine that is used now has the image it starts in."""
    try:
        return hosted.present(artifact) and builds.image_id(engine.connect(), artifact.facts["image"]) is not None
    except MissingComponent:
        return False


def remove(artifact: Artifact) -> None:
    """Delete the zip and what lies beside it."""
    assert artifact.path is not None
    hosted.remove(artifact)
    for name in (functions.EXAMPLES, _RAN):
        artifact.path.with_name(name).unlink(missing_ok=True)


# --- what goes into the zip ----------------------------------------------------------------------


def _install(locked: LockedModel, folder: Path, options: BuildOptions) -> None:
    argv = [str(tools.uv()), "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build", "--require-hashes"]
    argv += ["--find-links", str(locked.lock.wheels), "--python", str(locked.lock.python.path)]
    argv += ["--link-mode", "copy", "--target", str(folder), "--requirement", str(locked.lock.requirements)]
    if not locked.lock.packages:
        return
    shows = (tools.uv(), locked.lock.wheels, locked.lock.requirements)
    writes = (options.tool_cache, folder)
    with tools.bench("installing the function's dependencies", shows=shows, writes=writes) as bench:
        bench.run(argv, env=tools.uv_offline(options.tool_cache), timeout_s=options.timeout_s)
    environments.check_links(folder)  # uv's cache has some of its own
    # Commands of packages name an interpreter that Lambda doesn't have; the lock is uv's own.
    files.remove(folder / "bin")
    files.remove(folder / ".lock")


def made_to_fit(folder: Path, python: Interpreter, wanted: Sequence[str], options: BuildOptions) -> str:
    """Prune ``folder`` as the model wants and compile it; where that is too large, leave out more. What was done.

    The steps: what is always safe to leave out, then the bytecode, without which starts are slower.
    """
    rules = [rule for rule in wanted if rule not in _NOT_IN_A_ZIP]
    more = [rule for rule in SAFE_PRUNE if rule not in (*rules, *_NOT_IN_A_ZIP, *options.mended.unpruned)]
    keep = mending.kept(options)
    before = tree.size(folder)[0]
    layout.prune(folder, rules, keep, timeout_s=options.timeout_s)
    pruned = tree.size(folder)[0]
    told = [f"{', '.join(rules) or 'nothing'}: {before / 1e6:.1f} -> {pruned / 1e6:.1f} MB"]
    _compile(folder, python, options)
    size = tree.size(folder)[0]
    if size > pruned:
        told.append(f"with bytecode {size / 1e6:.1f} MB")
    if size > functions.UNZIPPED_BYTES and more:
        layout.prune(folder, more, keep, timeout_s=options.timeout_s)
        size = tree.size(folder)[0]
        told.append(f"to fit also {', '.join(more)}: {size / 1e6:.1f} MB")
    if size > functions.UNZIPPED_BYTES:
        _leave_out_bytecode(folder)
        size = tree.size(folder)[0]
        told.append(f"to fit without bytecode: {size / 1e6:.1f} MB")
    if size > functions.UNZIPPED_BYTES:
        told.append("does not fit")
    return "; ".join(told)


def _leave_out_bytecode(folder: Path) -> None:
    for cache in [path for path in folder.rglob("__pycache__") if path.is_dir()]:
        files.remove(cache)


def _compile(folder: Path, python: Interpreter, options: BuildOptions) -> None:
    """Compile everything, as if it lay where Lambda has it; a model's own files have to be compilable."""
    root = lambda_runtime.TASK_ROOT
    layout.compile_packages(folder, python=python, bytecode=options.bytecode, timeout_s=options.timeout_s, place=root)
    model = folder / layout.MODEL_FOLDER
    layout.compile_bytecode(model, python=python, bytecode=options.bytecode, place=f"{root}/{model.name}")


def pack(folder: Path, archive: Path) -> None:
    """Write ``folder`` as a zip whose bytes depend on the contents alone. It appears whole or not at all.

    A link is refused with CheckFailure, as is a name that :func:`unpack` would not take.
    """
    unfinished = archive.with_name(archive.name + ".part")
    with (
        process.disk_full_named(archive),
        zipfile.ZipFile(unfinished, "w", compression=zipfile.ZIP_DEFLATED, compresslevel=6) as written,
    ):
        for file in tree.files(folder):
            if file.is_symlink():
                raise CheckFailure(f"{file} is a link", remedy="replace it by the file that it points to")
            name = file.relative_to(folder).as_posix()
            if not archives.plain(name):
                raise CheckFailure(f"{files.shown(file)} has a name that is not plain", remedy="rename it")
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, whose permissions it has
            mode = 0o755 if file.stat().st_mode & 0o100 else 0o644
            entry.external_attr = (0o100000 | mode) << 16
            entry.file_size = file.stat().st_size
            with file.open("rb") as source, written.open(entry, "w") as target:
                shutil.copyfileobj(source, target, 2**20)
    unfinished.replace(archive)


def unpack(archive: Path, root: Path) -> None:
    """Unzip what :func:`pack` wrote, readable by all, as Lambda does. CheckFailure where it is damaged."""
    root.mkdir(mode=0o755, parents=True)
    try:
        with files.opened(archive) as stream, archives.opened(stream, at_most_bytes=tree.LARGEST_UNPACKED) as packed:
            for entry in packed.infolist():
                place = Path(packed.extract(entry, root))
                place.chmod(entry.external_attr >> 16 & 0o777 | 0o444)
    except (archives.UnsoundError, BadInput) as error:
        raise CheckFailure(f"{archive} is damaged: {error}", remedy="delete it; it is made again") from error
    for parent, _, _ in os.walk(root):
        os.chmod(parent, 0o755)


# --- deploying -----------------------------------------------------------------------------------

_RAN = "ran-on-the-stand-in.txt"


def _deployed_once(artifact: Artifact, archive: Path, depot: Depot) -> str:
    """Deploy it to the stand-in and have it run there, once for each artifact; how that went.

    A model that fails there is only told of: whether its answers are right is found out where it is started.
    """
    note = archive.with_name(_RAN)
    with contextlib.suppress(OSError):
        digest, _, said = note.read_text(encoding="utf-8").partition("\n")
        if digest == artifact.digest:
            return said
    try:
        account = depot.account()
    except MissingComponent as error:
        return f"not deployed: {error.problem}"
    try:
        said = functions.run_there_once(account, artifact, archive, artifact.facts["image"], processes=256)
    except ModelFailure as error:
        log.warning("%s as %s: %s", artifact.model, ID, error)
        return f"to moto's Lambda, where it failed: {error.problem}"
    said = f"to moto's Lambda, {said}"
    with process.disk_full_named(note):
        note.write_text(f"{artifact.digest}\n{said}", encoding="utf-8")
    return said
