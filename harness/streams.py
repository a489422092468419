"""What goes into a process and comes out of it, bounded: an endless output takes no more memory than its end."""

from __future__ import annotations

import contextlib
import os
import selectors
import time
from typing import IO, Protocol

_CHUNK_BYTES = 64 * 1024

#: How long an ended process's output is waited for, where somebody else has it open still.
PATIENCE_S = 0.2


class Running(Protocol):
    """A process with three pipes, as ``subprocess`` gives it."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None

    def poll(self) -> int | None:
        """The exit code; None while it runs."""


class Talk:
    """What goes into a process and comes out of it: the end of each stream is kept, no more than ``at_most`` bytes."""

    def __init__(self, process: Running, text: str | None, at_most: int) -> None:
        self._process, self._at_most = process, at_most
        self._left = memoryview((text or "").encode())
        self._kept: dict[int, bytearray] = {}
        self._selector = selectors.DefaultSelector()
        assert process.stdin is not None
        if self._left:
            os.set_blocking(process.stdin.fileno(), False)
            self._selector.register(process.stdin, selectors.EVENT_WRITE)
        else:
            process.stdin.close()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            self._kept[stream.fileno()] = bytearray()
            self._selector.register(stream, selectors.EVENT_READ)

    def go_on(self, deadline_s: float) -> bool:
        """Talk until both streams have ended; False where the time is up, or an ended process left them to another."""
        while self._selector.get_map():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            ready = self._selector.select(min(left_s, PATIENCE_S))
            for key, _ in ready:
                self._write() if key.events == selectors.EVENT_WRITE else self._read(key)
            if not ready and self._process.poll() is not None:
                return False
        return True

    def said(self) -> tuple[str, str]:
        """Standard output and standard error so far, or their ends."""
        out, err = (bytes(kept[-self._at_most :]).decode(errors="replace") for kept in self._kept.values())
        return out, err

    def close(self) -> None:
        """Close all ends."""
        self._selector.close()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _write(self) -> None:
        stream = self._process.stdin
        assert stream is not None
        try:
            self._left = self._left[os.write(stream.fileno(), self._left[:_CHUNK_BYTES]) :]
        except BrokenPipeError:
            self._left = self._left[:0]
        if not self._left:
            self._selector.unregister(stream)
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _read(self, key: selectors.SelectorKey) -> None:
        chunk = os.read(key.fd, _CHUNK_BYTES)
        if not chunk:
            self._selector.unregister(key.fileobj)
            return
        kept = self._kept[key.fd]
        kept += chunk
        if len(kept) > 2 * self._at_most:
            del kept[: -self._at_most]
