"""Models that are generated: a designed set over what natural models confound.

A large closure tends to have many files, a slow import and large weights at once. Here each is set by itself, so that
a calibration can tell their effects apart:

    synthetic-w128-f3000-i20    128 MB of weights, a dependency of 3000 modules, 20 million loop turns at import

The weights are random bytes, which nothing compresses; the modules are Python source like any other, of which 20 are
imported; the loop is what importing costs beyond reading files. Everything follows from the name and
``_GENERATION``: the folder can be made again to the bit, and nothing is downloaded for it.

    <cache>/synthetic/<name>-<generation>/    a model folder; see harness.spec.model
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import paths, process, tools, usage
from harness.errors import BadInput

#: Counts what changes the contents of generated folders.
_GENERATION = 1

_PACKAGE = "harness_synthetic"
_CHUNK = 1_000_000
_MODULES_OF_A_FOLDER = 100
_IMPORTED = 20
_DATE = (1980, 1, 1, 0, 0, 0)
#: The largest that is made, so that a slip of the finger does not fill the disk.
_MOST = {"weight_mb": 4000, "files": 50_000, "import_work": 10_000}


@dataclass(frozen=True, kw_only=True)
class Design:
    """One point: megabytes (10^6) of weights, modules of the dependency, millions of loop turns at import."""

    weight_mb: int
    files: int
    import_work: int

    @property
    def name(self) -> str:
        """The model's name."""
        return f"synthetic-w{self.weight_mb}-f{self.files}-i{self.import_work}"


#: Every combination of a low and a high level, far apart on a logarithmic scale, and their middle.
DESIGNS: tuple[Design, ...] = (
    *(
        Design(weight_mb=weight_mb, files=files, import_work=work)
        for weight_mb, files, work in itertools.product((4, 128), (100, 3000), (1, 20))
    ),
    Design(weight_mb=24, files=500, import_work=5),
)


def is_name(name: str) -> bool:
    """Whether a model of this name is a generated one."""
    return name.startswith("synthetic-")


def is_generated(place: Path) -> bool:
    """Whether the folder is one that :func:`folder` made, and can make again on any machine."""
    return place.parent.parent == paths.cache() / "synthetic"


def folder(name: str) -> Path:
    """The model folder of a generated model, made where it is not there; BadInput where the name is not such a one."""
    design = _design(name)
    place = paths.cache() / "synthetic" / f"{name}-{_GENERATION}" / name
    if not usage.used(place.parent):
        place.parent.parent.mkdir(exist_ok=True)
        with tools.alone(place.parent.with_suffix(".lock")), process.temporary_folder("synthetic") as scratch:
            if not usage.used(place.parent):
                new = scratch / "new"
                with process.disk_full_named(scratch):
                    _write(design, new / name)
                usage.keep(new, place.parent)
    return place


def _design(name: str) -> Design:
    found = re.fullmatch(r"synthetic-w(0|[1-9]\d*)-f([1-9]\d*)-i(0|[1-9]\d*)", name)
    if found is None:
        raise BadInput(
            "is not the name of a generated model",
            key="MODEL",
            value=name,
            remedy=f"say megabytes of weights, modules and millions of loop turns, as in {DESIGNS[-1].name}",
        )
    values = dict(zip(_MOST, map(int, found.groups()), strict=True))
    for key, most in _MOST.items():
        if values[key] > most:
            raise BadInput(f"its {key} is more than {most:,}", key="MODEL", value=name, remedy="ask for less")
    return Design(**values)


def _write(design: Design, place: Path) -> None:
    wheels = place / "wheels"
    wheels.mkdir(parents=True)
    wheel = wheels / f"{_PACKAGE}-{_version(design)}-py3-none-any.whl"
    _write_wheel(wheel, design)
    (place / "predictor.py").write_text(_PREDICTOR)
    (place / "train.py").write_text(_TRAIN.format(megabytes=design.weight_mb, chunk=_CHUNK))
    sha256, crc = _weights(design)
    inputs = list(range(1, 6))
    outputs = [zlib.crc32(str(number).encode(), crc) for number in inputs]
    (place / "examples.json").write_text(json.dumps({"inputs": inputs, "outputs": outputs}) + "\n")
    (place / "model.toml").write_text(
        _SPEC.format(
            name=design.name,
            package=_PACKAGE,
            version=_version(design),
            sha256=sha256,
            bytes=design.weight_mb * _CHUNK,
            memory_mb=512 + 3 * design.weight_mb,
            description=f"Generated: {design.weight_mb} MB of weights, a dependency of {design.files:,} modules, "
            f"{design.import_work} million loop turns at import",
        )
    )


def _version(design: Design) -> str:
    # A local version label: no index takes one, so nobody can put another package of this name in its place.
    return f"{_GENERATION}+f{design.files}.i{design.import_work}"


def _weights(design: Design) -> tuple[str, int]:
    """The sha256 and the CRC-32 of the weights that ``train.py`` writes."""
    source, digest, crc = random.Random(design.weight_mb), hashlib.sha256(), 0
    for _ in range(design.weight_mb):
        chunk = source.randbytes(_CHUNK)
        digest.update(chunk)
        crc = zlib.crc32(chunk, crc)
    return digest.hexdigest(), crc


def _write_wheel(file: Path, design: Design) -> None:
    info = f"{_PACKAGE}-{_version(design)}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {_PACKAGE}\nVersion: {_version(design)}\n"
    tags = "Wheel-Version: 1.0\nGenerator: harness\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    contents = {**dict(_modules(design)), f"{info}/METADATA": metadata, f"{info}/WHEEL": tags}
    record = ""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in contents.items():
            data = text.encode()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(data)}\n"
            archive.writestr(_entry(name), data)
        archive.writestr(_entry(f"{info}/RECORD"), f"{record}{info}/RECORD,,\n")


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=_DATE)
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    return entry


def _modules(design: Design) -> Iterator[tuple[str, str]]:
    """Every module's path and source; the ``__init__.py`` of each folder comes on top of ``files``."""
    source = random.Random(design.files)
    names = [
        f"{_PACKAGE}/part{number // _MODULES_OF_A_FOLDER:03}/module{number % _MODULES_OF_A_FOLDER:02}.py"
        for number in range(design.files)
    ]
    imported = [name.removesuffix(".py").replace("/", ".") for name in names[:_IMPORTED]]
    lines = [*(f"import {name}" for name in imported), "", f"for _ in range({design.import_work * 10**6}):", "    pass"]
    yield f"{_PACKAGE}/__init__.py", "\n".join(lines) + "\n"
    for part in sorted({name.rpartition("/")[0] for name in names}):
        yield f"{part}/__init__.py", ""
    for name in names:
        yield name, "\n\n".join(_function(source, number) for number in range(12)) + "\n"


def _function(source: random.Random, number: int) -> str:
    """Some lines of source that compress about as well as what people write."""
    a, b, c, d = source.sample(_PAIRS, 4)
    return (
        f"def {a}_{number}({b}, {c}={source.random():.6f}):\n"
        f'    """Take {b} and {c} together, as {d} of the {a} asks for."""\n'
        f"    if {b} > {source.randrange(10**6)}:\n"
        f"        return [{c} * {source.randrange(100)}, {b}]\n"
        f"    {d} = {{'{b}': {b}, '{c}': {c}, 'scale': {source.random():.9f}}}\n"
        f"    return sorted({d}.items(), key=lambda pair: str(pair[1]))"
    )


_WORDS = ("value", "table", "field", "state", "count", "order", "label", "frame", "index", "query", "batch", "group")
_PAIRS = tuple(f"{one}_{other}" for one, other in itertools.permutations(_WORDS, 2))

_PREDICTOR = f'''\
"""Answers with a checksum of the weights and the input: nothing is clever here, and everything is read."""

import zlib

import {_PACKAGE}  # noqa: F401


def load(model_dir):
    weights = (model_dir / "weights" / "weights.bin").read_bytes()
    return weights, zlib.crc32(weights)


def predict(model, inputs):
    return [zlib.crc32(str(number).encode(), model[1]) for number in inputs]
'''

_TRAIN = '''\
"""Writes random bytes from a fixed seed."""

import random
import sys
from pathlib import Path

source = random.Random({megabytes})
with open(Path(sys.argv[1], "weights", "weights.bin"), "wb") as file:
    for _ in range({megabytes}):
        file.write(source.randbytes({chunk}))
'''

_SPEC = """\
spec_version = 1
name = "{name}"
version = "1.0.0"
description = "{description}"
framework = "none"
family = "synthetic"
licence = "generated: no rights reserved"
requirements = ["{package}=={version}"]
wheels = "wheels"

[[artifacts]]
path = "weights/weights.bin"
sha256 = "{sha256}"
bytes = {bytes}

[train]

[resources]
memory_mb = {memory_mb}
"""
