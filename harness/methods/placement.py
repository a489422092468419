"""Where a model's weights are: in the artifact, mounted from a folder beside it, or fetched by every start.

What counts as weights is what ``model.toml`` lists under ``artifacts``. An artifact that is built without them has
them in a folder of its own beside it. ``mounted``: an installation fetches that folder from the depot, as one archive,
and starts are shown it read-only. ``fetched``: an installation gets nothing; each start asks for the files over a Unix
socket, because a model runs without a network, and the harness answers from that folder. That is a stand-in for an
object store without distance, latency or credentials, so such starts are ``emulated``; what a slower link would add is
bytes over bandwidth, and is modelled elsewhere. The store's files stay in this machine's memory also for a disk-cold
start: the node's disk is what is cold then, not the store's.

The runner's part is ``harness_runner/placing.py``: after the imports it makes a folder of links in which the model is
whole, and gives that to ``load()``; so a model has to look for its weights below the folder that it is given there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import socket
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import process, tree
from harness.methods.contract import Artifact, BuildOptions, Installed
from harness.platforms.depot import Depot
from harness.spec.model import Model
from harness.spec.weights import LockedModel

#: The folder of weights beside an artifact; no model is called so.
FOLDER = "_weights"

#: The socket of the store in the folder that an instance shares with the harness.
SOCKET = "w"

_LONGEST_NAME = 8192
_PATIENCE_S = 60.0  # with an instance that does not take what it has asked for
_ASKING_S = 5.0  # for a name on a line
_WAITING = 8


def is_weight(model: Model, relative: Path) -> bool:
    """Whether the file at ``relative``, seen from the model's folder, belongs to its weights."""
    return any(artifact.holds(relative) for artifact in model.file.artifacts)


def kept_apart(locked: LockedModel, options: BuildOptions, parent: Path) -> Path | None:
    """The folder in ``parent`` with the weights of an artifact that is built without them; None where it has them."""
    folder = parent / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    if options.weights == "inside":
        return None
    tree.copy(locked.payload, folder, keep=lambda relative: is_weight(locked.model, relative))
    return folder


def declared(locked: LockedModel) -> dict[str, object]:
    """What the runner is told of weights that are not beside it: where they belong, their digests and sizes."""
    files = {
        file.relative_to(locked.payload).as_posix(): (tree.sha256(file), file.stat().st_size)
        for file in tree.files(locked.payload)
        if is_weight(locked.model, file.relative_to(locked.payload))
    }
    return {"WEIGHTS": sorted(Path(one.path).as_posix() for one in locked.model.file.artifacts), "FILES": files}


def facts(locked: LockedModel, options: BuildOptions) -> dict[str, str]:
    """What is to be said of an artifact's bytecode and weights."""
    found: dict[str, str] = {"bytecode": options.bytecode, "weights": options.weights}
    if options.weights != "inside":
        payload = locked.payload
        travelling = (file for file in tree.files(payload) if is_weight(locked.model, file.relative_to(payload)))
        found["weights_bytes"] = str(sum(file.stat().st_size for file in travelling))
    return found


def folder_of(artifact: Artifact) -> Path | None:
    """Where the weights of ``artifact`` lie, if they are not in it: an image has no other path than that."""
    if artifact.facts.get("weights", "inside") == "inside":
        return None
    assert artifact.path is not None
    return artifact.path if artifact.image is not None else artifact.path.with_name(FOLDER)


def present(artifact: Artifact) -> bool:
    """Whether the weights are there that are not in it."""
    folder = folder_of(artifact)
    return folder is None or folder.is_dir()


def remove(artifact: Artifact) -> None:
    """Delete the weights beside it, and their archive."""
    folder = folder_of(artifact)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        _archive(folder).unlink(missing_ok=True)


# --- on the target -------------------------------------------------------------------------------


def installed(found: Installed, target: Path, depot: Depot) -> Installed:
    """``found`` with the weights that its artifact does not have: fetched to ``target``, or named for its starts."""
    folder = folder_of(found.artifact)
    if folder is None:
        return found
    if found.artifact.facts["weights"] == "fetched":
        return dataclasses.replace(found, weights=folder, start_fidelity="emulated")
    place, copy = target / FOLDER, target / "weights.tar.gz"
    archive = _archive(folder)
    if not archive.is_file():
        with process.ledger.waiting_for("tools"):
            tree.pack(folder, archive)
    fetched = depot.fetch(archive, copy)
    begin = time.monotonic()
    with process.ledger.waiting_for("tools"):
        tree.unpack(copy, place)
    unpacking_s = time.monotonic() - begin
    copy.unlink()
    whole = found.install_s is not None and fetched.seconds is not None
    return dataclasses.replace(
        found,
        weights=place,
        own_paths=(*found.own_paths, place) if found.own_paths else (),
        cold_paths=(*found.cold_paths, place),
        install_s=(found.install_s or 0.0) + (fetched.seconds or 0.0) + unpacking_s if whole else None,
        install_fidelity=fetched.fidelity,
        install_absent=found.install_absent or fetched.absent,
    )


def environment(weights: Path | str, scratch: Path | str) -> dict[str, str]:
    """What tells the runner that its weights are in a folder, or behind a socket, and where it may write."""
    return {"HARNESS_WEIGHTS": str(weights), "HARNESS_SCRATCH": str(scratch)}


@dataclass(frozen=True, kw_only=True)
class Store:
    """The files that starts fetch, and the socket on which they are asked for."""

    files: Mapping[str, Path]
    listener: socket.socket


@dataclass(frozen=True, kw_only=True)
class Access:
    """How an instance gets at its weights: the variables that tell it, what it is shown read-only, and a store."""

    env: Mapping[str, str] = field(default_factory=dict)
    shown: Mapping[Path, str] = field(default_factory=dict)
    store: Store | None = None


@contextmanager
def access(
    found: Installed | None, shared: Path, *, inside: str | None = None, mounted_at: str | None = None
) -> Iterator[Access]:
    """For the time of an instance: what it needs for weights that are not in its artifact; nothing if they are.

    ``shared`` is the folder that it and the harness write to, called ``inside`` within a container, where mounted
    weights are shown at ``mounted_at``.
    """
    if found is None or found.weights is None:
        yield Access()
        return
    within = inside or str(shared)
    if found.artifact.facts["weights"] == "mounted":
        place = mounted_at or str(found.weights)
        yield Access(env=environment(place, within), shown={found.weights: place})
        return
    with store(found.weights, shared / SOCKET) as opened:
        yield Access(env=environment(f"{within}/{SOCKET}", within), store=opened)


# --- the store -----------------------------------------------------------------------------------


@contextmanager
def store(folder: Path, address: Path) -> Iterator[Store]:
    """A store of the files below ``folder`` at the Unix socket ``address``: whoever connects is kept waiting."""
    files = {file.relative_to(folder).as_posix(): file for file in tree.files(folder) if not file.is_symlink()}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, ExitStack() as stack:
        parent = os.open(address.parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        stack.callback(os.close, parent)
        listener.bind(f"/proc/self/fd/{parent}/{address.name}")  # refused where anything lies there, a link too
        place = os.open(address.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        stack.callback(os.close, place)
        if not stat.S_ISSOCK(os.fstat(place).st_mode):
            raise OSError(errno.EEXIST, "somebody has put something in its place", str(address))
        os.chmod(f"/proc/self/fd/{place}", 0o666)  # that inode: an instance runs as another user
        listener.listen(_WAITING)
        yield Store(files=files, listener=listener)


@contextmanager
def answering(opened: Store | None) -> Iterator[None]:
    """Answer for the time of a block, if there is a store: a file's name as a JSON line, then its bytes.

    Only names of files of the store are answered; a connection that asks for another is closed. The thread that does
    so is begun when a process has been forked, not before: a fork copies one thread, and whatever lock another holds.
    """
    if opened is None:
        yield
        return
    counter = _Counter(opened)
    thread = threading.Thread(target=counter.serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        counter.close()
        thread.join(timeout=1.0)


class _Counter:
    """Where a store is asked: one connection after another, as the runner asks; the kernel keeps some more waiting."""

    def __init__(self, opened: Store) -> None:
        self._listener, self._files = opened.listener, opened.files
        self._open: list[socket.socket] = [opened.listener]

    def serve(self) -> None:
        """Until nobody listens any more."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            # Whoever asks for rubbish, or hangs up, gets nothing; the next one is answered.
            with contextlib.suppress(OSError, ValueError, TypeError, LookupError, RecursionError), connection:
                with self._files[_asked_name(connection)].open("rb") as file:
                    connection.settimeout(_PATIENCE_S)
                    connection.sendfile(file)
            self._open.remove(connection)

    def close(self) -> None:
        """End the wait for the next connection, and whatever goes on with this one."""
        for one in tuple(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _asked_name(connection: socket.socket) -> Any:
    """What is asked for on a line, in a bounded time and length; TimeoutError, ValueError."""
    deadline, asked = time.monotonic() + _ASKING_S, b""
    while not asked.endswith(b"\n") and len(asked) < _LONGEST_NAME:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        chunk = connection.recv(_LONGEST_NAME - len(asked))
        if not chunk:
            break
        asked += chunk
    return json.loads(asked)


def _archive(folder: Path) -> Path:
    return folder.with_name(folder.name + ".tar.gz")
