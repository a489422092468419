"""What a case could leave on this machine: processes, mounts, control groups, loop devices, temporary files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Where any user may write, and a model might outlive itself.
_SHARED = ("/tmp", "/var/tmp", "/dev/shm", "/run/lock", "/dev/mqueue")


@dataclass(frozen=True)
class Traces:
    """Looks for everything that has the mark of one ground: its folder's path, or its token."""

    base: Path
    token: str

    def now(self) -> frozenset[str]:
        """A line for each thing that is there."""
        return frozenset([*self._processes(), *self._mounts(), *self._groups(), *self._loops(), *self._files()])

    def since(self, before: frozenset[str], *, patience_s: float = 5.0) -> list[str]:
        """What is there and was not before, given some time to go away."""
        deadline = time.monotonic() + patience_s
        while (left := sorted(self.now() - before)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def _processes(self) -> Iterator[str]:
        marks = (f"{self.base}/".encode(), self.token.encode())
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                known = (entry / "cmdline").read_bytes()
                shown = known.replace(b"\0", b" ").decode(errors="replace")[:160]
                known += (entry / "environ").read_bytes()
            except OSError:
                continue
            if any(mark in known for mark in marks):
                yield f"process {entry.name} of user {entry.stat().st_uid}: {shown}"

    def _mounts(self) -> Iterator[str]:
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if f"{self.base}/" in line:
                yield f"mount {line[:160]}"

    def _groups(self) -> Iterator[str]:
        import hashlib

        key = hashlib.sha256(str((self.base / "cache").resolve()).encode()).hexdigest()[:12]  # harness.paths.key()
        for pattern in ("", "*/"):
            yield from (f"control group {one}" for one in Path("/sys/fs/cgroup").glob(f"{pattern}harness-{key}-*"))

    def _loops(self) -> Iterator[str]:
        for file in Path("/sys/block").glob("loop*/loop/backing_file"):
            if str(self.base) in file.read_text():
                yield f"loop device {file.parts[3]}"

    def _files(self) -> Iterator[str]:
        yield from (f"temporary file {path}" for path in (self.base / "cache" / "tmp").glob("*"))
        for folder in map(Path, _SHARED):
            yield from (f"temporary file {path}" for path in folder.glob(f"*{self.token}*"))
