"""A ``requirements.lock`` that travels with a model: pins and hashes are taken from it, and nothing else.

Lines of a requirements file can name folders and addresses, options and other files; a source distribution is a
program. None of that may reach an installer.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Callable

from hostile import payloads, programs
from hostile.campaign import Case
from hostile.ground import Ground
from hostile.making import WHEEL, Make, lock_header, model, wheel

_NO_HASH = "--hash=sha256:" + "0" * 64
_WANTED = ["hostile-pkg==1.0"]
_LOCK = ("lock", "{model}")
#: A lock that is not pins with hashes alone is refused, by its name.
_REFUSED = (r"requirements\.lock", r"remedy")


def sdist(place: Ground) -> bytes:
    """``evil-1.0.tar.gz``, whose build back end lies in it, needs nothing, and says who runs it."""
    code = programs.source(payloads.who_runs, place.where)
    files = {
        "PKG-INFO": "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "evil_backend"\nbackend-path = ["."]\n',
        "evil_backend.py": code,
        "setup.py": code,
    }
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"evil-1.0/{name}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(target.getvalue(), mtime=0)


def _hash(place: Ground) -> str:
    """Its true hash: what is to be trusted by its hash is not thereby to be run."""
    return f"--hash=sha256:{hashlib.sha256(sdist(place)).hexdigest()}"


def _with_lock(lines: Callable[[Ground], str | bytes]) -> Make:
    """A model whose lock has a good pin, then these lines; source distributions lie about."""

    def make(place: Ground) -> None:
        own = wheel({"hostile_pkg/__init__.py": f"# {place.folder}\n"})
        folder = model(place, wheels={WHEEL: own}, requirements=_WANTED)
        for parent in (folder, folder / "links", folder / "evil"):
            parent.mkdir(exist_ok=True)
            (parent / "evil-1.0.tar.gz").write_bytes(sdist(place))
        (folder / "evil" / "setup.py").write_text(programs.source(payloads.who_runs, place.where))
        (folder / "more.txt").write_text(f"{folder}/evil-1.0.tar.gz {_hash(place)}\n")
        text = lines(place)
        pin = f"hostile-pkg==1.0 --hash=sha256:{hashlib.sha256(own).hexdigest()}\n"
        head = lock_header(_WANTED) + pin
        (folder / "requirements.lock").write_bytes(head.encode() + (text.encode() if isinstance(text, str) else text))

    return make


def _line(name: str, lines: Callable[[Ground], str | bytes], **more: object) -> Case:
    """The line is refused, and what it names is not touched."""
    return Case(
        name=f"lock-{name}",
        kind="lock",
        make=_with_lock(lines),
        **{"exits": (2,), "says": _REFUSED, **more},  # type: ignore[arg-type]
    )


def _lock_is(put: Callable[[Ground, str], None], name: str, **more: object) -> Case:
    """The lock itself is no file."""

    def make(place: Ground) -> None:
        put(place, str(model(place) / "requirements.lock"))

    return Case(
        name=f"lock-{name}",
        kind="lock",
        make=make,
        **{"exits": (2,), "says": _REFUSED, **more},  # type: ignore[arg-type]
    )


def _requirement(name: str, *requirements: str) -> Case:
    """A requirement in ``model.toml`` that is none."""
    return Case(
        name=f"lock-requirement-{name}",
        kind="lock",
        make=lambda place: model(
            place, requirements=[text.format(**place.where, folder=place.folder) for text in requirements]
        ),
        exits=(2,),
        says=(r"model\.toml", r"requirements", r"remedy"),
    )


CASES = [
    _line("url-of-a-folder", lambda place: f"evil @ file://{place.model}/evil-1.0.tar.gz {_hash(place)}\n"),
    _line("url-without-a-name", lambda place: f"file://{place.model}/evil-1.0.tar.gz {_hash(place)}\n"),
    _line("path", lambda place: f"{place.model}/evil-1.0.tar.gz {_hash(place)}\n"),
    _line("path-of-a-folder", lambda place: f"{place.model}/evil\n"),
    _line("editable", lambda place: f"-e {place.model}/evil\n"),
    _line("another-file", lambda place: f"-r {place.model}/more.txt\n"),
    _line("a-secret-as-another-file", lambda place: f"--requirement={place.where['secret']}\n"),
    _line("constraints", lambda place: f"-c {place.where['secret']}\n"),
    _line(
        "index",
        lambda place: f"--index-url http://127.0.0.1:{place.where['port']}/simple\nevil==1.0 {_hash(place)}\n",
    ),
    _line("extra-index", lambda place: f"--extra-index-url http://127.0.0.1:{place.where['port']}/\n"),
    _line(
        "index-by-annotation",
        lambda place: f"evil==1.0 {_hash(place)}\n    # from http://127.0.0.1:{place.where['port']}/simple\n",
        exits=(1, 2),
        says=(r"evil|requirements\.lock", r"remedy"),
    ),
    _line(
        "find-links",
        lambda place: f"--find-links {place.model}/links\n--no-binary :all:\nevil==1.0 {_hash(place)}\n",
    ),
    _line(
        "url-over-http",
        lambda place: f"evil @ http://127.0.0.1:{place.where['port']}/evil.tar.gz {_hash(place)}\n",
    ),
    _line("git", lambda place: f"evil @ git+file://{place.model}/evil {_hash(place)}\n"),
    _line("trusted-host", lambda _: "--trusted-host 127.0.0.1\n"),
    _line(
        "environment-variable",
        lambda place: f"evil @ http://127.0.0.1:{place.where['port']}/${{HF_TOKEN}} {_hash(place)}\n",
    ),
    _line("config-settings", lambda _: f'evil==1.0 {_NO_HASH} --config-settings "--build-option=x"\n'),
    _line("continued-line", lambda place: f"\\\n-r \\\n{place.model}/more.txt\n"),
    _line("carriage-return", lambda place: f"evil==1.0 {_hash(place)}\r-r {place.model}/more.txt\r\n"),
    _line(
        "odd-line-ends",
        lambda place: f"evil==1.0 {_hash(place)}\u2028-r {place.model}/more.txt\x0b-e {place.model}/evil\n",
    ),
    _line("zero-byte", lambda _: b"evil==1.0\x00 -r more.txt\n"),
    _line("without-hashes", lambda _: "evil==1.0\n"),
    _line("without-a-version", lambda _: f"evil>=1.0 {_NO_HASH}\n"),
    _line("weak-hash", lambda _: "evil==1.0 --hash=md5:00000000000000000000000000000000\n"),
    _line("damaged", lambda _: f"!!! {_NO_HASH}\n"),
    _line(
        "twice-the-same",
        lambda _: f"hostile-pkg==2.0 {_NO_HASH}\n",
        exits=(1, 2),
        says=(r"hostile-pkg|requirements\.lock",),
    ),
    _line("escapes", lambda _: f"\x1b[2Jevil==1.0 {_NO_HASH}\n"),
    _line("of-100-mb", lambda _: b"# x\n" * (25 * 2**20), memory_mb=300),
    _line(
        "100000-pins",
        lambda _: "".join(f"evil{n}==1.0 {_NO_HASH}\n" for n in range(100_000)),
        exits=(1, 2),
        says=(r"evil|wheels|requirements\.lock",),
        timeout_s=60.0,
    ),
    _lock_is(lambda _, path: os.mkfifo(path), "fifo", exits=(0, 2), says=()),
    _lock_is(lambda _, path: os.symlink("/dev/zero", path), "endless-device", exits=(0, 2), says=()),
    _lock_is(lambda place, path: os.symlink(str(place.where["secret"]), path), "link-to-a-secret"),
    _lock_is(lambda _, path: os.mkdir(path), "a-folder", exits=(0, 2), says=()),
    _lock_is(
        lambda place, path: os.symlink(str(place.where["public"]), path),
        "written-through-a-link",
        commands=(_LOCK,),
        exits=(0, 2),
        says=(),
    ),
    _lock_is(lambda _, path: os.mkfifo(path), "written-into-a-fifo", commands=(_LOCK,), exits=(0, 2), says=()),
    _requirement("by-file", "evil @ file://{folder}/evil-1.0.tar.gz"),
    _requirement("option", "--index-url http://127.0.0.1:{port}/simple"),
    _requirement("with-a-line-end", "hostile-pkg==1.0\n-r {secret}"),
    _requirement("with-a-hash", "hostile-pkg==1.0 --hash=sha256:00"),
    _requirement("with-a-comment", "hostile-pkg==1.0 # --find-links {folder}"),
    _requirement("long-marker", "hostile-pkg==1.0; " + " or ".join(["python_version > '3'"] * 20_000)),
]
