"""Where a case takes place: a cache, a home and witnesses that hostile code must not touch.

    <base>/cache      the harness's cache, shared by the cases of one worker so that each takes a second or two
    <base>/home       the home of whoever runs the harness, with keys in it
    <base>/witness    what is watched: a secret, folders and sockets that nobody may use
    <base>/cases/N    the folder of one case: its model, results, output

The secrets all hold one text, the *canary*: wherever it turns up, something was read that must not be.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import selectors
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import interpreter

#: The user that instances ran as in versions that had one for all: another model's process, for those who look.
NEIGHBOUR_ID = 65532
#: Sleeps as long as who started it is there.
_SLEEP = "import os, time\nparent = os.getppid()\nwhile os.getppid() == parent: time.sleep(1)"
#: Of the caller's environment, what says where packages come from.
_INDEXES = ("PIP_", "UV_", "SSL_", "REQUESTS_", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy")


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a case is made of, and where it may write."""

    folder: Path
    base: Path
    where: Mapping[str, object]

    @property
    def model(self) -> Path:
        """The folder of the hostile model."""
        return self.folder / "model"

    def path(self, name: str) -> Path:
        """One of ``where``'s paths."""
        return Path(str(self.where[name]))


@dataclass
class Witness:
    """Everything on this machine that a case must leave alone, and what was noticed of it."""

    base: Path
    user: int | None
    canary: str = field(default_factory=lambda: f"canary-{os.urandom(8).hex()}")
    touched: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.token = f"hostile-{hashlib.sha256(str(self.base).encode()).hexdigest()[:10]}"
        self.home, self.cache, self.place = self.base / "home", self.base / "cache", self.base / "witness"
        self._stop = threading.Event()
        self._sockets: dict[str, socket.socket] = {}
        self._neighbours: list[subprocess.Popen[bytes]] = []

    @contextlib.contextmanager
    def planted(self) -> Iterator[Witness]:
        """Put everything in its place; gone afterwards, but for the cache."""
        for folder in (self.home, self.place, self.base / "cases"):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self.cache.mkdir(exist_ok=True)
        for folder in (self.base, self.cache, self.place, self.base / "cases"):
            folder.chmod(0o755)
        self._plant()
        real = Path("~/.config/pip").expanduser()
        if real.is_dir():
            shutil.copytree(real, self.home / ".config" / "pip")
        self._give_away(self.home, self.cache, self.place, self.base / "cases")
        self.home.chmod(0o700)
        try:
            self._listen()
            self._neighbours = [self._neighbour(user) for user in self._neighbour_users()]
            yield self
        finally:
            self._stop.set()
            for one in self._neighbours:
                one.kill()
                one.wait()
            for listener in self._sockets.values():
                listener.close()

    def ground(self, name: str) -> Ground:
        """A fresh folder for one case."""
        folder = self.base / "cases" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return Ground(folder=folder, base=self.base, where=self.where())

    def where(self) -> dict[str, object]:
        """What hostile code is told, so that it need not search: where the witnesses are."""
        return {
            "secrets": [str(path) for path in self._secrets()],
            "secret": str(self._secrets()[0]),
            "anybody": str(self.place / "anybody"),
            "owner": str(self.place / "owner"),
            "public": str(self.place / "public.txt"),
            "cache": str(self.cache),
            "home": str(self.home),
            "socket": str(self.place / "socket"),
            "abstract": f"{self.token}-abstract",
            "port": self._sockets["tcp"].getsockname()[1] if "tcp" in self._sockets else 0,
            "neighbours": [one.pid for one in self._neighbours],
            "token": self.token,
        }

    def environment(self) -> dict[str, str]:
        """What the harness is started with: a home, a cache, and secrets that no model may see."""
        passed = {name: value for name, value in os.environ.items() if name.startswith(_INDEXES)}
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "HARNESS_CACHE": str(self.cache),
            "AWS_SECRET_ACCESS_KEY": f"{self.canary} of AWS_SECRET_ACCESS_KEY",
            "HF_TOKEN": f"{self.canary} of HF_TOKEN",
            "COLUMNS": "200",
            **passed,
        }

    def state(self) -> dict[str, str]:
        """What the watched files are: content, mode, owner."""
        found = {}
        for path in sorted([*self.place.rglob("*"), *self._secrets(), self.other_weights()]):
            status = os.lstat(path)
            content = hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else ""
            found[str(path)] = f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {content}"
        return found

    def living_neighbours(self) -> list[int]:
        """Those that still run."""
        return [one.pid for one in self._neighbours if one.poll() is None]

    def revive(self) -> None:
        """Put things right for the next case: what this one wrote is gone, who it killed is there again."""
        for name in ("anybody", "owner"):
            for path in (self.place / name).iterdir():
                subprocess.run(["/bin/rm", "-rf", "--", str(path)], check=False)
        self._plant()
        users = self._neighbour_users()
        for number, one in enumerate(self._neighbours):
            if one.poll() is not None:
                self._neighbours[number] = self._neighbour(users[number])
        self.touched.clear()

    def dropped(self) -> list[str]:
        """What hostile code wrote where it must not be able to."""
        places = (self.place / "anybody", self.place / "owner")
        written = [path for place in places for path in place.iterdir()]
        return [f"{path}: {path.read_text(errors='replace')[:500] if path.is_file() else ''}" for path in written]

    def _secrets(self) -> list[Path]:
        return [
            self.place / "secret" / "key.pem",
            self.home / ".ssh" / "id_ed25519",
            self.home / ".aws" / "credentials",
            self.home / ".netrc",
        ]

    def other_weights(self) -> Path:
        """Another model's, in the cache."""
        return self.cache / "weights" / "another-model-0123" / "weights.txt"

    def _plant(self) -> None:
        """Put the secrets, folders, a file of everybody's and another model's weights there, as they must stay."""
        for secret in self._secrets():
            secret.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            secret.write_text(f"{self.canary} of {secret.name}\n")
            secret.chmod(0o600)
        for name, mode in (("anybody", 0o1777), ("owner", 0o700)):
            (self.place / name).mkdir(exist_ok=True)
            (self.place / name).chmod(mode)
        public, weights = self.place / "public.txt", self.other_weights()
        weights.parent.mkdir(parents=True, exist_ok=True)
        public.write_text("as it was\n")
        weights.write_text(f"{self.canary} of another model\n")
        for file in (public, weights):
            file.chmod(0o644)
        self._give_away(self.home, self.place, self.cache / "weights")

    def _give_away(self, *folders: Path) -> None:
        for folder in folders if self.user is not None else ():
            for path in (folder, *folder.rglob("*")):
                os.chown(path, self.user or 0, self.user or 0, follow_symlinks=False)

    def _neighbour_users(self) -> list[int | None]:
        return [self.user, NEIGHBOUR_ID] if os.geteuid() == 0 else [None]

    def _neighbour(self, user: int | None) -> subprocess.Popen[bytes]:
        """A process with a secret in its environment, of the harness's user or of another model's."""
        who: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        return subprocess.Popen(
            [str(interpreter.default().path), "-c", _SLEEP, f"{self.token}-neighbour"],
            env={"SECRET": f"{self.canary} of a neighbour"},
            cwd="/",
            start_new_session=True,
            **who,
        )

    def _listen(self) -> None:
        """Sockets of every kind that nothing may connect to; who does is noted."""
        path = self.place / "socket"
        kinds = {
            "tcp": (socket.AF_INET, socket.SOCK_STREAM, ("0.0.0.0", 0)),  # noqa: S104 -- reached by any address
            "udp": (socket.AF_INET, socket.SOCK_DGRAM, None),
            "path": (socket.AF_UNIX, socket.SOCK_STREAM, str(path)),
            "abstract": (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{self.token}-abstract"),
        }
        for name, (family, kind, address) in kinds.items():
            listener = socket.socket(family, kind)
            listener.bind(address or ("0.0.0.0", self._sockets["tcp"].getsockname()[1]))  # noqa: S104 -- as above
            if kind == socket.SOCK_STREAM:
                listener.listen(64)
            listener.setblocking(False)
            self._sockets[name] = listener
        path.chmod(0o777)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        with selectors.DefaultSelector() as selector:
            for name, listener in self._sockets.items():
                selector.register(listener, selectors.EVENT_READ, name)
            while not self._stop.is_set():
                for key, _ in selector.select(timeout=0.2):
                    self.touched.append(f"a connection to the {key.data} socket")
                    with contextlib.suppress(OSError):
                        if key.data == "udp":
                            self._sockets[key.data].recv(100)
                        else:
                            self._sockets[key.data].accept()[0].close()


def end(pid: int) -> None:
    """Kill a process, if it is there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
