"""Base images: Debian's Python in as little as is sound, or the official image where a registry is in reach.

Which one was used is in the record, by digest. What is in the engine already is used again, so that the
base does not change between two runs because the network did.

Environment: ``HARNESS_BASE_IMAGE`` names another image, local or to be pulled (``{minor}`` in it stands for
``3.11``); ``HARNESS_REGISTRY`` is ``auto``, ``on`` (a registry or nothing) or ``off`` (never ask one).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import platform
import re
import shlex
import shutil
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from harness import interpreter, paths, process, settings, tools, usage
from harness.errors import BadInput, BuildFailure, CheckFailure, HarnessError, MissingComponent
from harness.platforms import builds, containers
from harness.platforms.engine import Engine, Say, asking

SUITES = interpreter.DEBIAN

REPOSITORY = "ml-packaging-harness/base"
_LABEL = "ml-packaging-harness"
_ASK_S = 5
_ASK_AGAIN_S = 3600.0
_BUILD_S = 900.0
# Everything in the image is at most this old (2023-01-27), so that the same packages give the same bytes.
_EPOCH = 1674777600
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UNREACHABLE = ("Could not resolve", "Failed to fetch", "Unable to connect", "Could not connect", "timed out")

# What wheels from PyPI need of the system: the whole standard library, the C++ runtime, zlib, time zones and
# a locale; and a shell with the plain tools, for RUN in Dockerfiles.
_PACKAGES = (
    *("base-files", "coreutils", "dash", "libc-bin", "libgcc-s1", "libpython3-stdlib", "libstdc++6"),
    *("python3-minimal", "tzdata", "zlib1g"),
)
# Debian keeps this part of the standard library, which Python 3.12 dropped, in a package of its own.
_PACKAGES_BEFORE_312 = ("python3-distutils",)
# Dependencies that only installing packages needs.
_DROPPED = ("debconf", "debianutils", "dpkg", "mawk", "tar", "mime-support", "mailcap", "perl-base")

# /bin and the like are links into /usr, as the packages' own scripts have expected for years.
_SETUP_HOOK = 'for d in bin sbin lib lib64; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done'

_FINISH = Path(__file__).with_name("base_image.sh")
_FINISHING = "HARNESS_FINISH"  # the variable that has its text

# A pulled image's library: official images come without bytecode for it, and a read-only container can't write it.
_DERIVED = """\
FROM {name}
RUN ["{python}", "-I", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", \\
     "-x", "/(site-packages|dist-packages|tests?)/", "{library}"]
"""
_ASK_PYTHON = "import sys, sysconfig as s; print(sys.executable, '%d.%d' % sys.version_info[:2], s.get_path('stdlib'))"


@dataclass(frozen=True, kw_only=True)
class BaseImage:
    """A base image in the engine: its id as ``reference``, where it came from, its interpreter's path, its layers."""

    reference: str
    tag: str
    source: str
    python: str
    python_minor: str
    packages: tuple[str, ...]
    layers: int = 1


# --- what methods ask for ------------------------------------------------------------------------


def base(engine: Engine, python_minor: str, *, packages: Sequence[str] = (), say: Say = lambda _: None) -> BaseImage:
    """The image that ships: Python ``python_minor`` (``3.11``) and Debian's ``packages`` besides, made if not there.

    MissingComponent where neither a registry nor Debian's archive is in reach, or no release has this Python.
    """
    given, wanted = settings.text("HARNESS_BASE_IMAGE"), settings.text("HARNESS_REGISTRY") or "auto"
    if wanted not in ("auto", "on", "off"):
        raise BadInput("is not auto, on or off", key="HARNESS_REGISTRY", value=wanted, remedy="unset it")
    official = (given or "python:{minor}-slim").replace("{minor}", python_minor)
    with tools.alone(paths.cache() / "base" / "lock"):
        if given:
            return _derive(engine, official, python_minor, say)
        # System packages are Debian's, and an official image could only get them with a network in its build.
        if wanted != "off" and not packages:
            found = _present(engine, asked_for=official, minor=python_minor)
            if found is None and (wanted == "on" or not _present_by_tag(engine, python_minor, packages)):
                found = _official(engine, official, python_minor, say, insist=wanted == "on")
            if found is not None:
                return found
        return _present_by_tag(engine, python_minor, packages) or _debian(engine, python_minor, packages, say)


def build_base(
    engine: Engine, python_minor: str, *, packages: Sequence[str] = (), say: Say = lambda _: None
) -> BaseImage:
    """The image for build stages: the same with uv at ``/usr/local/bin/uv``."""
    below = base(engine, python_minor, packages=packages, say=say)
    program = tools.uv()
    key = hashlib.sha256(f"{below.reference} {_file_digest(program)}".encode()).hexdigest()[:12]
    tag = f"{REPOSITORY}:{python_minor}-build-{key}"
    found = _inspected(engine, tag)
    if found is None:
        say("adding uv to the base image")
        with process.temporary_folder("build-base") as folder, process.disk_full_named(folder):
            shutil.copyfile(program, folder / "uv")
            (folder / "uv").chmod(0o755)
            os.utime(folder / "uv", (_EPOCH, _EPOCH))
            builds.build_image(engine, folder, f"FROM {below.tag}\nCOPY uv /usr/local/bin/uv\n", tag)
        found = _now_there(engine, tag)
    return _record(found, tag)


def recipe(python_minor: str, packages: Sequence[str] = ()) -> str:
    """A digest of everything of ours that decides what Debian's base image holds."""
    parts = [SUITES.get(python_minor, ""), *_included(python_minor, packages), *_DROPPED, _SETUP_HOOK]
    parts += [_FINISH.read_text(), str(_EPOCH), platform.machine()]
    parts += [json.dumps(_configuration(python_minor, (), ""), sort_keys=True)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def command(python_minor: str, packages: Sequence[str], target: Path) -> list[str]:
    """The mmdebstrap command line that writes the root file system to ``target``; its default is Debian's archive."""
    finish = f'sh -c "${_FINISHING}" sh "$1" {shlex.join([python_minor, *_DROPPED])}'
    return [
        *("mmdebstrap", "--variant=extract", "--format=tar", "--skip=output/dev,cleanup/apt"),
        f"--include={','.join(_included(python_minor, packages))}",
        f"--setup-hook={_SETUP_HOOK}",
        f"--extract-hook={finish}",
        SUITES[python_minor],
        str(target),
    ]


def root_archive(folder: Path, python_minor: str, packages: Sequence[str] = ()) -> Path:
    """The root file system of Debian's base image as a tar in ``folder``, which others must be able to walk to.

    apt downloads as a user of its own. MissingComponent where Debian's archive is out of reach.
    """
    target = folder / "root.tar"
    env = process.network_environment(folder, SOURCE_DATE_EPOCH=str(_EPOCH), PYTHONHASHSEED="0")
    # An ordinary user's mmdebstrap works as somebody (a subordinate user) who may not be let to our folders.
    env[_FINISHING] = _FINISH.read_text()
    if os.geteuid() != 0:
        env["TMPDIR"] = "/var/tmp"  # noqa: S108 -- mmdebstrap makes a folder of its own there
    done = process.run(command(python_minor, packages, target), env=env, cwd=Path("/"), timeout_s=_BUILD_S)
    if done.returncode != 0:
        raise _not_made(done.output, python_minor)
    return target


# --- from a registry -----------------------------------------------------------------------------


def _official(engine: Engine, name: str, minor: str, say: Say, *, insist: bool) -> BaseImage | None:
    """The image ``name`` of a registry, with its library compiled; None where no registry answers soon."""
    silent = paths.cache() / "base" / "no-registry"
    if not insist and silent.exists() and time.time() - silent.stat().st_mtime < _ASK_AGAIN_S:
        return None
    say(f"asking a registry for {name}")
    if not _offered(engine, name):
        if insist:
            raise MissingComponent(
                f"no registry offers {name} within {_ASK_S} s", remedy="unset HARNESS_REGISTRY to use Debian's packages"
            )
        silent.touch()
        return None
    silent.unlink(missing_ok=True)
    return _derive(engine, name, minor, say)


def _offered(engine: Engine, name: str) -> bool:
    """Whether the engine's registry answers for ``name`` in time; nothing is downloaded."""
    with contextlib.suppress(HarnessError), asking(engine, f"asking for {name}", timeout_s=_ASK_S) as asked:
        asked.inspect_distribution(name)
        return True
    return False


def _derive(engine: Engine, name: str, minor: str, say: Say) -> BaseImage:
    """``name`` (pulled if it is not there) with the standard library compiled, and what it is in its labels."""
    image = _inspected(engine, name)
    if image is None:
        say(f"pulling {name}")
        _pull(engine, name)
        image = _now_there(engine, name)
    key = hashlib.sha256(f"{image['Id']} {_DERIVED}".encode()).hexdigest()[:12]
    tag = f"{REPOSITORY}:{minor}-{key}"
    found = _inspected(engine, tag)
    if found is None:
        say(f"compiling the standard library of {name}")
        python, library = _interpreter(engine, name, minor)
        digests = image.get("RepoDigests") or []
        labels = {
            f"{_LABEL}.asked": name,
            f"{_LABEL}.source": f"registry:{digests[0]}" if digests else f"image:{name}@{image['Id']}",
            f"{_LABEL}.python": python,
            f"{_LABEL}.minor": minor,
        }
        with process.temporary_folder("derive") as folder:
            builds.build_image(
                engine, folder, _DERIVED.format(name=name, python=python, library=library), tag, labels=labels
            )
        found = _now_there(engine, tag)
    return _record(found, tag)


def _pull(engine: Engine, name: str) -> None:
    said = ""
    try:
        with asking(engine, f"pulling {name}") as asked:
            for answer in asked.pull(name, stream=True, decode=True):
                said = str(answer.get("error", said))
    except BuildFailure as error:
        said = error.log
    if said:
        raise MissingComponent(
            f"{name} can't be pulled: {said.splitlines()[0]}",
            remedy="name an image that can be pulled or is in the engine with HARNESS_BASE_IMAGE, or unset it",
        )


def _interpreter(engine: Engine, image: str, minor: str) -> tuple[str, str]:
    """Where the image has its Python and the standard library; BadInput if it has another Python than ``minor``."""
    with containers.running(
        engine, image, entrypoint=["python3", "-c", _ASK_PYTHON], memory_bytes=256 * 2**20, processes=64
    ) as container:
        code = container.wait(60)
        said = container.output().split()
    if code != 0:
        raise BadInput("has no python3 that runs", key="HARNESS_BASE_IMAGE", value=image, remedy="name a Python image")
    python, found, library = said[-3:]
    if found != minor:
        raise BadInput(
            f"has Python {found}, not {minor}",
            key="HARNESS_BASE_IMAGE",
            value=image,
            remedy="write {minor} in its name",
        )
    return python, library


# --- from Debian's packages ----------------------------------------------------------------------


def archive(minor: str, packages: Sequence[str] = (), *, say: Say = lambda _: None) -> Path:
    """Debian's base image as an archive for ``docker load``, made once and kept in the cache.

    MissingComponent where no release has this Python or it can't be made here, BuildFailure where Debian has no such
    package.
    """
    suite(minor)
    tag = _tag(minor, packages)
    file = paths.cache() / "base" / f"{tag.partition(':')[2]}.tar"
    with tools.alone(file.with_suffix(".lock")):
        if not usage.used(file):
            _make_archive(file, tag, minor, packages, say)
    return file


def suite(minor: str) -> str:
    """The code name of Debian's release with that Python; MissingComponent where none has it."""
    if minor not in SUITES:
        raise MissingComponent(
            f"no Debian release has Python {minor}, and no registry answers",
            remedy=f"use Python {', '.join(SUITES)}, or name an image that has it with HARNESS_BASE_IMAGE",
        )
    return SUITES[minor]


def _tag(minor: str, packages: Sequence[str]) -> str:
    return f"{REPOSITORY}:{minor}-{recipe(minor, packages)}"


def _debian(engine: Engine, minor: str, packages: Sequence[str], say: Say) -> BaseImage:
    """The image of Debian's packages: from the cached archive, which is made if it is not there."""
    tag, file = _tag(minor, packages), archive(minor, packages, say=say)
    say("loading the base image")
    with file.open("rb") as stream, asking(engine, f"loading {tag}") as asked:
        for answer in asked.load_image(stream, quiet=True):
            if "error" in answer:
                raise BuildFailure(f"loading {tag} failed", log=str(answer["error"]), remedy=f"delete {file}")
    return _record(_now_there(engine, tag), tag)


def _make_archive(archive: Path, tag: str, minor: str, packages: Sequence[str], say: Say) -> None:
    if shutil.which("mmdebstrap") is None:
        raise MissingComponent(
            "there is no base image, no registry that answers, and no mmdebstrap to make one from Debian's packages",
            remedy="apt-get install mmdebstrap, or name an image that is in the engine with HARNESS_BASE_IMAGE",
        )
    say(f"making a base image from Debian {SUITES[minor]} (about 20 s)")
    with process.temporary_folder("base", readable=True) as folder, process.disk_full_named(folder):
        target = root_archive(folder, minor, packages)
        unfinished = archive.with_suffix(".part")
        with unfinished.open("wb") as stream:
            write_image(target, stream, tag=tag, minor=minor)
        unfinished.replace(archive)


def _not_made(output: str, minor: str) -> BuildFailure | MissingComponent:
    said = [line for line in output.splitlines() if line.startswith(("E:", "Err:"))]
    if any(sign in output for sign in _UNREACHABLE):
        return MissingComponent(
            "neither a registry nor Debian's archive is in reach: " + (said[0] if said else "no answer"),
            remedy="check the network and its proxy, or name an image in the engine with HARNESS_BASE_IMAGE",
        )
    return BuildFailure(f"mmdebstrap could not make Debian {SUITES[minor]}", log=output)


def write_image(root: Path, stream: IO[bytes], *, tag: str, minor: str) -> None:
    """Write the root file system ``root`` (a tar) as an archive for ``docker load``; the same bytes every time."""
    with root.open("rb") as file:
        layer = hashlib.file_digest(file, "sha256").hexdigest()
    config = json.dumps(_configuration(minor, _packages_in(root), layer), sort_keys=True).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": [f"{layer}/layer.tar"]}]
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member, content in ((name, config), ("manifest.json", json.dumps(manifest).encode())):
            tar.addfile(_entry(member, len(content)), io.BytesIO(content))
        with root.open("rb") as file:
            tar.addfile(_entry(f"{layer}/layer.tar", root.stat().st_size), file)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime = size, _EPOCH
    return entry


def _configuration(minor: str, packages: Sequence[str], layer: str) -> dict[str, Any]:
    """The image's configuration. Its date is fixed, so the image's id depends on its contents alone."""
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_EPOCH))
    labels = {
        f"{_LABEL}.source": f"mmdebstrap {SUITES.get(minor, '')}",
        f"{_LABEL}.python": f"/usr/bin/python{minor}",
        f"{_LABEL}.minor": minor,
        f"{_LABEL}.packages": " ".join(packages),
    }
    return {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "os": "linux",
        "created": date,
        "config": {"Env": [f"PATH={_PATH}", "LANG=C.UTF-8"], "Cmd": ["python3"], "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
        "history": [{"created": date, "created_by": labels[f"{_LABEL}.source"]}],
    }


def _packages_in(root: Path) -> list[str]:
    """``name=version`` of every package in the root file system."""

    def found() -> Iterator[str]:
        with tarfile.open(root, mode="r:") as tar:
            for entry in tar:
                content = tar.extractfile(entry) if entry.isfile() and "/dpkg/status.d/" in entry.name else None
                if content is not None:
                    fields = dict(re.findall(r"(?m)^(Package|Version): (.*)$", content.read().decode()))
                    yield f"{fields['Package']}={fields['Version']}"

    return sorted(found())


def _included(minor: str, packages: Sequence[str]) -> list[str]:
    older = _PACKAGES_BEFORE_312 if tuple(map(int, minor.split("."))) < (3, 12) else ()
    return sorted({*_PACKAGES, *older, *packages})


# --- what the engine has -------------------------------------------------------------------------


def _present(engine: Engine, *, asked_for: str, minor: str) -> BaseImage | None:
    """An image that was derived from ``asked_for`` earlier, the newest first."""
    labels = [f"{_LABEL}.asked={asked_for}", f"{_LABEL}.minor={minor}"]
    with asking(engine, "looking for a base image") as asked:
        found = asked.images(name=REPOSITORY, filters={"label": labels})
    for image in sorted(found, key=lambda one: -int(one.get("Created", 0))):
        for tag in image.get("RepoTags") or []:
            if "-build-" not in tag and (inspected := _inspected(engine, tag)) is not None:
                return _record(inspected, tag)
    return None


def _present_by_tag(engine: Engine, minor: str, packages: Sequence[str]) -> BaseImage | None:
    tag = _tag(minor, packages)
    found = _inspected(engine, tag)
    return None if found is None else _record(found, tag)


def _inspected(engine: Engine, name: str) -> dict[str, Any] | None:
    with asking(engine, f"looking for {name}", absent_ok=True) as asked:
        found: dict[str, Any] = asked.inspect_image(name)
        return found
    return None


def _now_there(engine: Engine, name: str) -> dict[str, Any]:
    found = _inspected(engine, name)
    if found is None:
        raise CheckFailure(
            f"the engine has just got {name}, and does not have it",
            remedy="see whether something else removes images, then try again",
        )
    return found


def _record(image: dict[str, Any], tag: str) -> BaseImage:
    labels = (image.get("Config") or {}).get("Labels") or {}
    return BaseImage(
        reference=image["Id"],
        tag=tag,
        source=labels.get(f"{_LABEL}.source", ""),
        python=labels.get(f"{_LABEL}.python", "/usr/bin/python3"),
        python_minor=labels.get(f"{_LABEL}.minor", ""),
        packages=tuple(labels.get(f"{_LABEL}.packages", "").split()),
        layers=len(image["RootFS"]["Layers"]),
    )


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
