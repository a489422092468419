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

import contextlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath

from harness import archives, door, files, paths, process, tools, tree
from harness.errors import BadInput, BuildFailure
from harness.interpreter import Interpreter
from harness.methods import hosted, layout, mending, placement, rehearsal, variants
from harness.methods.contract import (
    Artifact,
    BuildOptions,
    Installed,
    Layers,
    Limit,
    Limits,
    Mends,
    Sizes,
)
from harness.methods.serving import Served
from harness.platforms.depot import Depot
from harness.spec import capabilities, environments, pythons
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
MENDS: frozenset[Mends] = frozenset({"prune"})

#: The rules of pruning that PEX can go by: it reads the lists of files, takes sources only, and knows no hard links.
_RULES = ("tests", "stubs", "headers", "symbols")

_RECORDS = paths.PACKAGE / "resources" / "pex" / "records.py"
_DEPENDENCIES = ".deps/"
_UNPACKED_BYTES, _ABOUT_BYTES, _LARGEST_BYTECODE = 16 * 2**30, 2**20, 64 * 2**20
_ENTRY_BYTES = 30 + 46  # of zip's two headers for an entry, without its name, which stands in both
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)

#: As with every artifact that lies on the target.
check, present, remove = hosted.check, hosted.present, hosted.remove


def prepare(model: Model) -> None:
    """Make PEX's own environment; the model itself needs nothing."""
    tools.executable("pex", python=pythons.of(model))


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """``MODEL.pex``, which extracts itself below ``PEX_ROOT`` when it is first started."""
    variants.require(ID, options, locked.model)
    file = layout.fresh_folder(workdir, "pex") / f"{locked.model.name}.pex"
    facts = write(locked, file, options)
    return Artifact(
        method=ID,
        model=locked.model.name,
        digest=tree.sha256(file),
        path=file,
        python=locked.lock.python.path,
        facts=facts,
    )


def write(locked: LockedModel, file: Path, options: BuildOptions) -> dict[str, str]:
    """Make the PEX at ``file``, weights that are not in it beside it; what is to be said of it."""
    rules = mending.rules(locked.model, options, _RULES)
    bench = layout.bench_folder(options, "pex")
    with process.temporary_folder("pex") as scratch:
        # PEX leaves this bytecode behind, but a source that can't be compiled is told of here.
        layout.write_sources(
            locked, scratch / "sources", bytecode=options.bytecode, weights=options.weights, pruned=rules
        )
        made = _run_pex(locked, scratch / "sources", bench, rules, options, file.name)
        with files.opened(made, below=bench) as source, file.open("xb") as written:
            shutil.copyfileobj(source, written, 2**20)
        file.chmod(0o755)
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
        "interpreter": locked.lock.python.version,
        "pruned": ", ".join(rules) or "nothing",
        "bytecode": f"{options.bytecode}, of the {added} modules that the examples load"
        if added
        else "made on the first start",
    }


# --- the file as PEX makes it --------------------------------------------------------------------


def _run_pex(
    locked: LockedModel, sources: Path, bench: Path, rules: Sequence[str], options: BuildOptions, name: str
) -> Path:
    """Have PEX make its file below ``bench``, from an environment of the locked wheels there, pruned; the file.

    All of it is behind the door: PEX starts the environment's Python, which executes what packages put into its start.
    """
    environment, home, made = bench / "environment", bench / "home", bench / "made" / name
    for old in (environment, home, made.parent):
        files.remove(old)
    home.mkdir()
    if locked.lock.packages:
        environments.install(
            locked.lock,
            environment,
            cache=bench,
            bytecode="none",
            timeout_s=options.timeout_s,
            prune=rules,
            keep=mending.kept(options),
        )
    made.parent.mkdir(exist_ok=True)
    # No --python: with one, PEX 2.105 refuses environments that hold a wheel of any Python ("py2.py3-none-any").
    # Its own environment is made of the model's interpreter, as the one that it takes from is.
    python = locked.lock.python
    tool = tools.executable("pex", python=python)
    argv = [str(tool), "--output-file", str(made), "--pex-root", str(bench / "pex")]
    argv += ["--python-shebang", str(python.path), "--sh-boot"]
    argv += ["--sources-directory", str(sources), "--entry-point", "harness_runner"]
    argv += ["--no-pypi", "--no-build", "--intransitive", "--no-emit-warnings"]
    if locked.lock.packages:
        argv += ["--venv-repository", str(environment)]
        argv += [f"{name}=={version}" for name, version in locked.lock.packages]
    correcting = [str(python.path), "-I", str(_RECORDS), str(environments.site_packages(environment, python))]
    env = process.environment(home, SOURCE_DATE_EPOCH=str(tree.FIXED_DATE), PEX_IGNORE_RCFILES="1")
    shows = (tool.parent.parent, sources, _RECORDS)
    with tools.bench("pex", shows=shows, writes=(bench,)) as at:
        for step in (correcting, argv) if locked.lock.packages and rules else (argv,):
            at.run(step, env=env, cwd=home, timeout_s=options.timeout_s)
    return made


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
        with _opened(file) as archive:
            archive.extractall(sources, names)
        layout.compile_packages(
            sources, python=locked.lock.python, bytecode=options.bytecode, timeout_s=options.timeout_s
        )
        return _append(file, sources, names, locked.lock.python, at_most=room)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[zipfile.ZipFile]:
    """The file as an archive: packages had a hand in it, so it is looked at. BuildFailure where it is not sound."""
    try:
        with files.opened(file) as stream, archives.opened(stream, at_most_bytes=_UNPACKED_BYTES) as archive:
            yield archive
    except archives.UnsoundError as error:
        raise BuildFailure(f"PEX made an archive that is not sound: {error}") from error


def _loaded(locked: LockedModel, file: Path, options: BuildOptions, weights: Path | None = None) -> list[str]:
    """The archive's sources that answering the examples loads: those for which Python wrote bytecode."""
    with _opened(file) as archive:
        pex_hash = _hash(archives.read(archive, "PEX-INFO", at_most=_ABOUT_BYTES))
        names = [name for name in archive.namelist() if name.endswith(".py")]
    python = locked.lock.python
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
        inside = os.path.realpath(extraction)
        laid_out = list(extraction.glob(f"unzipped_pexes/*/{pex_hash}"))
        return [name for name in names if any(_written(place / _cached(name, python), inside) for place in laid_out)]


def _written(file: Path, inside: str) -> bool:
    """Whether there is a file, maybe by links of PEX's to the folder of a wheel, ``inside`` that folder."""
    place = os.path.realpath(file)
    return place.startswith(f"{inside}/") and os.path.isfile(place)


def _hash(about: bytes) -> str:
    """What a PEX says that its hash is; BuildFailure where it says nothing of it."""
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        said = str(json.loads(about)["pex_hash"])
        if said.isalnum():
            return said
    raise BuildFailure("PEX made a file that does not say its hash")


def _cached(name: str, python: Interpreter) -> str:
    """Where that Python keeps the bytecode of a source (PEP 3147)."""
    path = PurePosixPath(name)
    return str(path.parent / "__pycache__" / f"{path.stem}.cpython-{python.minor.replace('.', '')}.pyc")


def _room(locked: LockedModel, file: Path) -> int:
    """How large the file may get: as large as with all that the wheels have."""
    with _opened(file) as archive:
        taken = sum(entry.compress_size for entry in archive.infolist() if entry.filename.startswith(_DEPENDENCIES))
    return file.stat().st_size + max(locked.lock.wheel_bytes - taken, 0)


def _append(file: Path, sources: Path, names: Sequence[str], python: Interpreter, *, at_most: int) -> int:
    """Add the bytecode of the largest modules first, as those take longest to compile; of how many there was room."""
    added, directory = 0, 0
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        directory = sum(_ENTRY_BYTES + 2 * len(entry.filename) for entry in archive.infolist())
        for name in sorted(names, key=lambda name: (-(sources / name).stat().st_size, name)):
            try:
                content = files.read_bytes(sources / _cached(name, python), at_most=_LARGEST_BYTECODE, below=sources)
            except BadInput:
                continue  # it could not be compiled
            place = _cached(name, python)
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
