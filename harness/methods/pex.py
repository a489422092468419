"""``pex``: one executable file with the model and all its dependencies, built by PEX from the locked wheels.

It needs a Python on the target, unlike what the article says; ``pex-scie`` brings one.

Its first start is what PEX is slow at: it inflates and writes every file, and Python then compiles every module
that it imports. So less is shipped (``prune`` of ``model.toml``), and bytecode is shipped with it: PEX itself takes
none along, so the file, once built, answers the examples in bounds, and the bytecode of exactly the modules that
this loads is added to the archive, where PEX's own extraction puts it beside its source. It takes no more room than
the pruning made, so the file is never larger than what PEX makes by its defaults.

Docs: https://docs.pex-tool.org and ``pex --help`` of the locked version, for ``--venv-repository``, ``--sh-boot`` and
``PEX_ROOT``; that a file below ``.deps`` and ``.bootstrap`` is extracted as it is, and that
nothing is checked against a hash then, was read in its ``layout.py``.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath

from harness import door, files, interpreter, process, tools, tree
from harness.errors import BuildFailure
from harness.methods import hosted, layout, placement, pruning, rehearsal, variants
from harness.methods.contract import (
    Artifact,
    BuildOptions,
    Installed,
    Layers,
    Limit,
    Limits,
    Sizes,
)
from harness.methods.serving import Served
from harness.platforms.depot import Depot
from harness.spec import capabilities, environments
from harness.spec.model import Model
from harness.spec.weights import LockedModel

ID = "pex"
FAMILY = "executable"
LAYERS = Layers(environment="single file", interface="command line, Unix socket", platform="self-hosted")
FIDELITY = "measured"
LIMITS: tuple[Limit, ...] = ()
REQUIREMENTS: tuple[str, ...] = ()
REQUIRES = frozenset({"python"})
PROVIDES = capabilities.given(LAYERS)

#: The rules of pruning that PEX can go by: it reads the lists of files, takes sources only, and knows no hard links.
_RULES = ("tests", "stubs", "headers", "symbols")

_DEPENDENCIES = ".deps/"
_ENTRY_BYTES = 30 + 46  # of zip's two headers for an entry, without its name, which stands in both
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)

#: As with every artifact that lies on the target.
check, present, remove = hosted.check, hosted.present, hosted.remove


def prepare(model: Model) -> None:
    """Make PEX's own environment; the model itself needs nothing."""
    tools.executable("pex")


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """``MODEL.pex``, which extracts itself below ``PEX_ROOT`` when it is first started."""
    variants.require(ID, options, locked.model)
    file = layout.fresh_folder(workdir, "pex") / f"{locked.model.name}.pex"
    facts = write(locked, file, options)
    return Artifact(method=ID, model=locked.model.name, digest=tree.sha256(file), path=file, facts=facts)


def write(locked: LockedModel, file: Path, options: BuildOptions) -> dict[str, str]:
    """Make the PEX at ``file``, weights that are not in it beside it; what is to be said of it."""
    rules = [rule for rule in _RULES if rule in locked.model.file.prune]
    with process.temporary_folder("pex") as scratch:
        # PEX leaves this bytecode behind, but a source that can't be compiled is told of here.
        layout.write_sources(locked, scratch / "sources", bytecode=options.bytecode, weights=options.weights)
        if locked.lock.packages:
            _environment(locked, scratch / "environment", rules, options)
        _run_pex(locked, scratch, file, options)
    weights = placement.kept_apart(locked, options, file.parent)
    added = _add_bytecode(locked, file, options, weights)
    if not added and options.bytecode == "checked-hash":
        raise BuildFailure(
            "no bytecode could be added to the PEX: pruning made no room for it, or the examples were not answered",
            remedy="build it with bytecode=none, which is the same",
        )
    return {
        **placement.facts(locked, options),
        "pex": tools.version("pex"),
        "interpreter": interpreter.default().version,
        "pruned": ", ".join(rules) or "nothing",
        "bytecode": f"{options.bytecode}, of the {added} modules that the examples load"
        if added
        else "made on the first start",
    }


# --- the file as PEX makes it --------------------------------------------------------------------


def _environment(locked: LockedModel, folder: Path, rules: Sequence[str], options: BuildOptions) -> None:
    """The dependencies as PEX is to take them: installed from the locked wheels, and pruned."""
    environments.install(locked.lock, folder, cache=options.tool_cache, bytecode="none", timeout_s=options.timeout_s)
    packages = hosted.site_packages(folder)
    if rules:
        pruning.prune(packages, rules)
        for record in packages.glob("*.dist-info/RECORD"):
            _correct(record)


def _correct(record: Path) -> None:
    """Have a list of installed files say what pruning left: PEX installs by it."""
    packages, rows = record.parent.parent, []
    for path, digest, size in csv.reader(io.StringIO(record.read_text(encoding="utf-8"))):
        file = packages / path
        if file.is_file():
            # A stripped library may be as long as before.
            changed = size and (file.stat().st_size != int(size) or ".so" in file.name)
            rows.append((path, *_measured(file)) if changed else (path, digest, size))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    record.unlink()  # it may be a further name of the one in uv's cache
    record.write_text(text.getvalue(), encoding="utf-8")


def _measured(file: Path) -> tuple[str, str]:
    """A file's digest and size as RECORD has them (packaging.python.org, "Recording installed projects")."""
    content = file.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"sha256={digest}", str(len(content))


def _run_pex(locked: LockedModel, scratch: Path, file: Path, options: BuildOptions) -> None:
    # No --python: with one, PEX 2.105 refuses environments that hold a wheel of any Python ("py2.py3-none-any").
    # Its own environment is made of the default interpreter, as the one that it takes from is.
    argv = [str(tools.executable("pex")), "--output-file", str(file), "--pex-root", str(options.tool_cache / "pex")]
    argv += ["--python-shebang", str(interpreter.default().path), "--sh-boot"]
    argv += ["--sources-directory", str(scratch / "sources"), "--entry-point", "harness_runner"]
    argv += ["--no-pypi", "--no-build", "--intransitive", "--no-emit-warnings"]
    if locked.lock.packages:
        argv += ["--venv-repository", str(scratch / "environment")]
        argv += [f"{name}=={version}" for name, version in locked.lock.packages]
    env = process.environment(scratch, SOURCE_DATE_EPOCH=str(tree.FIXED_DATE), PEX_IGNORE_RCFILES="1")
    try:
        done = process.run(argv, env=env, timeout_s=options.timeout_s)
    except process.TimedOut as error:
        raise BuildFailure(f"pex: {error}", log=error.output) from error
    if done.returncode != 0 or not file.is_file():
        raise BuildFailure(f"pex ended with exit code {done.returncode}", log=done.output)


# --- bytecode ------------------------------------------------------------------------------------


def _add_bytecode(locked: LockedModel, file: Path, options: BuildOptions, weights: Path | None = None) -> int:
    """Add the bytecode of what a start loads to the archive; of how many modules.

    None where no room was made.
    """
    room = _room(locked, file)
    if options.bytecode == "none" or room <= file.stat().st_size:
        return 0
    with process.temporary_folder("pex") as scratch:
        names = _loaded(locked, file, options, weights)
        if not names:
            return 0
        sources = scratch / "compiled"
        with zipfile.ZipFile(file) as archive:
            archive.extractall(sources, names)
        layout.compile_packages(sources, bytecode=options.bytecode, timeout_s=options.timeout_s)
        return _append(file, sources, names, at_most=room)


def _loaded(locked: LockedModel, file: Path, options: BuildOptions, weights: Path | None = None) -> list[str]:
    """The archive's sources that answering the examples loads: those for which Python wrote bytecode."""
    with zipfile.ZipFile(file) as archive:
        pex_hash = str(json.loads(archive.read("PEX-INFO"))["pex_hash"])
        names = [name for name in archive.namelist() if name.endswith(".py")]
    with door.workspace(environments.bounds(locked.model).disk_bytes) as disk:
        extraction = disk / "pex_root"
        extraction.mkdir()
        if not rehearsal.answered(
            locked,
            [*_command(file), "once"],
            disk=disk,
            shows=(file,),
            weights=weights,
            writes=[extraction],
            timeout_s=options.timeout_s,
            PEX_ROOT=str(extraction),
            PEX_IGNORE_RCFILES="1",
        ):
            return []
        # The folder was the model's to write to: it is asked for names of ours only, and nothing in it is read.
        written = [entry.relative.parts for entry in files.walk(extraction)]
    below = {parts[3:] for parts in written if (parts[0], *parts[2:3]) == ("unzipped_pexes", pex_hash)}
    return [name for name in names if PurePosixPath(_cached(name)).parts in below]


def _cached(name: str) -> str:
    """Where Python keeps the bytecode of a source (PEP 3147)."""
    path = PurePosixPath(name)
    return str(path.parent / "__pycache__" / f"{path.stem}.cpython-{interpreter.default().minor.replace('.', '')}.pyc")


def _room(locked: LockedModel, file: Path) -> int:
    """How large the file may get: as large as with all that the wheels have."""
    with zipfile.ZipFile(file) as archive:
        taken = sum(entry.compress_size for entry in archive.infolist() if entry.filename.startswith(_DEPENDENCIES))
    return file.stat().st_size + max(locked.lock.wheel_bytes - taken, 0)


def _append(file: Path, sources: Path, names: Sequence[str], *, at_most: int) -> int:
    """Add the bytecode of the largest modules first, as those take longest to compile; of how many there was room."""
    added, directory = 0, 0
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        directory = sum(_ENTRY_BYTES + 2 * len(entry.filename) for entry in archive.infolist())
        for name in sorted(names, key=lambda name: (-(sources / name).stat().st_size, name)):
            bytecode = sources / _cached(name)
            if not bytecode.is_file():
                continue
            content, place = bytecode.read_bytes(), _cached(name)
            directory += _ENTRY_BYTES + 2 * len(place)
            if archive.fp is None or archive.fp.tell() + directory + len(content) > at_most:
                break
            entry = zipfile.ZipInfo(place, _FIXED_DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            archive.writestr(entry, content)
            added += 1
    return added


# --- on the target -------------------------------------------------------------------------------


def sizes(artifact: Artifact, depot: Depot) -> Sizes:
    """Packed: the file. Unpacked: the same file, as it lies on the target until its first start."""
    assert artifact.path is not None
    return hosted.sizes_of_file(artifact.path, unpacked_bytes=artifact.path.stat().st_size, files=1)


def install(artifact: Artifact, target: Path, depot: Depot) -> Installed:
    """Fetch the file; its extraction folder is empty until the first start."""
    extraction = hosted.extraction_folder(target, "pex_root")
    return hosted.install_file(artifact, target, depot, extraction_caches=(extraction,))


def start(installed: Installed, limits: Limits) -> AbstractContextManager[Served]:
    """``MODEL.pex serve``, in bounds."""
    assert installed.root is not None
    assert installed.artifact.path is not None
    argv = [*_command(installed.root / installed.artifact.path.name), "serve"]
    extraction = installed.extraction_caches[0]
    return hosted.serving(
        installed,
        limits,
        lambda socket: [*argv, "--socket", str(socket)],
        PEX_ROOT=str(extraction),
        PEX_IGNORE_RCFILES="1",
    )


def _command(file: Path) -> list[str]:
    """By the shell script that ``--sh-boot`` puts first, which knows without Python whether it was extracted before."""
    return ["/bin/sh", str(file)]
