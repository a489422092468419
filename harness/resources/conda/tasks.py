"""What runs in conda's tool environment, one task a process: its name as argument, JSON in, JSON out.

py-rattler sometimes crashes when the interpreter that it was used in ends, its work being done. So each task says
what it has to say and leaves by ``os._exit``.
"""

import asyncio
import datetime as dt
import hashlib
import json
import os
import re
import stat
import sys
import tempfile
from email.parser import HeaderParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# The earliest date that zip can hold, as everywhere in the harness: packages then depend on their contents alone.
DATE = dt.datetime(1980, 1, 1, tzinfo=dt.UTC)
COMPRESSION = 1  # of packages that never leave this machine
MOST_BYTES = 32 * 2**30  # that one environment's packages may have, packed

# What a wheel's platform tag promises about the C library: PEP 513, 571, 599 and 600.
OLD_TAGS = {"manylinux1": "2.5", "manylinux2010": "2.12", "manylinux2014": "2.17"}

# A script that finds its interpreter beside itself, wherever the environment lies.
SHEBANG = b"""#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")/python" "$0" "$@"
' '''
"""


# --- which channel -------------------------------------------------------------------------------


def probe(channels, platform, spec, timeout_s, cache):
    """How many packages that match ``spec`` the channels have; an error where one of them does not answer."""
    from rattler import Channel, Client, Gateway, MatchSpec

    client = Client.default_client(max_retries=0, timeout=timeout_s)
    gateway = Gateway(cache_dir=Path(cache), client=client)
    wanted = MatchSpec(spec)

    async def ask():
        found = await gateway.query([Channel(url) for url in channels], [platform, "noarch"], [wanted], recursive=False)
        return sum(wanted.matches(record) for records in found for record in records)

    return {"found": asyncio.run(ask())}


# --- a channel made from wheels ------------------------------------------------------------------


def assemble(packages):
    """Make a package of each staged folder: see ``_assemble``."""
    return {"made": [_assemble(**package) for package in packages]}


def convert(wheels, abi, platform):
    """Make a package of each wheel: ``{"file": ..., "output": folder}``."""
    return {"made": [_convert(Path(wheel["file"]), Path(wheel["output"]), abi, platform) for wheel in wheels]}


def index(channel):
    """Write the channel's ``repodata.json``."""
    from rattler.index import index_fs

    asyncio.run(index_fs(Path(channel), write_zst=False, write_shards=False))
    return {}


def _assemble(name, version, build, platform, folder, output, depends, constrains=()):
    from rattler_build import assemble_package

    Path(output).mkdir(parents=True, exist_ok=True)
    made = assemble_package(
        name,
        version,
        platform,
        build,
        output,
        files_dir=folder,
        depends=list(depends),
        constrains=list(constrains),
        compression_level=COMPRESSION,
        timestamp=DATE,
        detect_prefix=False,
    )
    return str(made.path)


def _convert(file, output, abi, platform):
    """``abi`` is the Python's, ``3.11``; names and versions are PyPI's."""
    from packaging.utils import parse_wheel_filename

    name, version, _, tags = parse_wheel_filename(file.name)
    with tempfile.TemporaryDirectory(dir=output.parent) as staged:
        metadata = _unpack(file, Path(staged), abi)
        depends = [f"python {abi}.*", f"python_abi {abi}.* *_cp{abi.replace('.', '')}"]
        floor = _floor(tags)
        if floor:
            depends.append(f"__glibc >={floor}")
        depends += _requirements(metadata)
        build = f"py{abi.replace('.', '')}_0"
        return _assemble(str(name), str(version), build, platform, staged, str(output), depends)


def _unpack(file, stage, abi):
    """Put the wheel's files where an environment has them; its metadata."""
    from installer import install
    from installer.destinations import SchemeDictionaryDestination
    from installer.sources import WheelFile

    packages = stage / "lib" / f"python{abi}" / "site-packages"
    scheme = {"purelib": packages, "platlib": packages, "scripts": stage / "bin", "data": stage}
    scheme["headers"] = stage / "include" / f"python{abi}"
    destination = SchemeDictionaryDestination(
        {key: str(place) for key, place in scheme.items()}, interpreter="/python", script_kind="posix"
    )
    with WheelFile.open(file) as wheel:
        install(wheel, destination, {"INSTALLER": b"conda"})
        metadata = HeaderParser().parsestr(wheel.read_dist_info("METADATA"))
    for script in (stage / "bin").glob("*"):
        first, _, rest = script.read_bytes().partition(b"\n")
        if first == b"#!/python":
            script.write_bytes(SHEBANG + rest)
    return metadata


def _floor(tags):
    """The oldest glibc that the wheel runs with, None where it says nothing about one."""
    floors = []
    for tag in tags:
        said = re.match(r"manylinux_(\d+)_(\d+)_", tag.platform)
        old = OLD_TAGS.get(tag.platform.split("_")[0])
        if said or old:
            floors.append(f"{said[1]}.{said[2]}" if said else old)
    return min(floors, key=lambda floor: [int(part) for part in floor.split(".")], default=None)


def _requirements(metadata):
    """What the wheel requires here, in conda's words; what only an extra requires is for who asks for the extra."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    from rattler import MatchSpec

    for text in metadata.get_all("Requires-Dist") or ():
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(requirement.name)
        spec = f"{name} {','.join(sorted(str(part) for part in requirement.specifier))}".strip()
        try:
            MatchSpec(spec)
        except Exception:
            spec = name  # a version that conda cannot say; the environment pins it anyway
        yield spec


# --- an environment from a lock ------------------------------------------------------------------


def fetch(lock, platform, store):
    """Have every package of the lock that was not made here in ``store``, under its sha256."""
    left = MOST_BYTES
    for record in _records(lock, platform):
        place = _place(record, store)
        if place.is_file():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(place.name + ".part")
        try:
            left -= _download(record.url, part, left)
            _check(part, record)
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
    return {}


def _download(url, file, at_most):
    """Write what is there to ``file``, no more than ``at_most`` bytes; how many it was."""
    import requests

    parts = urlsplit(url)
    with file.open("wb") as written:
        if parts.scheme == "file":
            # Only a file: opening a pipe would wait for ever.
            descriptor = os.open(unquote(parts.path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            with open(descriptor, "rb") as source:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise ValueError(f"{url} is not a file")
                return _copied(iter(lambda: source.read(2**20), b""), written, at_most)
        if parts.scheme not in ("http", "https"):
            raise ValueError(f"{url} has no address that packages are fetched from")
        with requests.get(url, stream=True, timeout=(10, 60)) as answer:
            answer.raise_for_status()
            return _copied(answer.iter_content(2**20), written, at_most)


def _copied(blocks, written, at_most):
    total = 0
    for block in blocks:
        total += len(block)
        if total > at_most:
            raise ValueError(f"the packages have more than {MOST_BYTES // 2**30} GiB")
        written.write(block)
    return total


def install(lock, platform, store, prefix, cache):
    """Install the lock into ``prefix``, offline, each package's sha256 checked; what was installed."""
    import rattler

    records = _records(lock, platform)
    origins = {}
    for record in records:
        place = _place(record, store)
        # rattler does not check packages that it is given as files.
        _check(place, record)
        origins[record.name.normalized] = _shown(record.url)
        record.url = place.as_uri()
    asyncio.run(rattler.install(records, Path(prefix), cache_dir=Path(cache), show_progress=False))
    for file in Path(prefix, "conda-meta").glob("*.json"):
        table = json.loads(file.read_text())
        table["url"] = origins[table["name"]]
        table["channel"] = origins[table["name"]].rsplit("/", 2)[0]
        file.write_text(json.dumps(table, indent=1, sort_keys=True))
    return {"packages": sorted([record.name.normalized, str(record.version)] for record in records)}


def _records(lock, platform):
    from rattler import LockFile

    environment = LockFile.from_path(Path(lock)).default_environment()
    for target in environment.platforms():
        if target.name == platform:
            records = environment.conda_repodata_records_for_platform(target)
            lacking = [record.file_name for record in records if record.sha256 is None]
            if lacking:
                raise ValueError(f"the channel gives no sha256 for {', '.join(lacking)}")
            return records
    raise ValueError(f"the lock has nothing for {platform}")


def _place(record, store):
    url = urlsplit(record.url)
    local = Path(os.path.normpath(unquote(url.path)))
    if url.scheme == "file" and Path(store).parent in local.parents:  # it was made here
        return local
    name = unquote(url.path.rsplit("/", 1)[-1])
    if not re.fullmatch(r"[\w.+!-]*[\w+!-]\.(conda|tar\.bz2)", name, re.ASCII):
        raise ValueError(f"the channel has a package called {name!r}")
    return Path(store, record.sha256.hex(), name)


def _check(file, record):
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != record.sha256.hex():
        raise ValueError(f"{record.file_name} has sha256 {found}, the lock says {record.sha256.hex()}")


def _shown(url):
    """The address as an artifact may tell it: without passwords, and without folders of this machine."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return "file:///local/" + "/".join(parts.path.rsplit("/", 2)[1:])
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{re.sub(r'^/t/[^/]+', '', parts.path)}"


# --- the process ---------------------------------------------------------------------------------

TASKS = {"probe": probe, "assemble": assemble, "convert": convert, "index": index, "fetch": fetch, "install": install}


def main():
    """Do the task; never returns."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    code = 0
    try:
        answer = TASKS[sys.argv[1]](**json.load(sys.stdin))
    except BaseException as error:
        answer, code = {"error": f"{type(error).__name__}: {error}"}, 1
    json.dump(answer, answers)
    answers.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
