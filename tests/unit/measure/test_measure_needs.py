"""What a model needs of the system: which libraries, who loads them, where they are. No start, no image, no network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fuzz import elf

from harness.errors import MissingComponent
from harness.measure import needs
from harness.measure.needs import Needs
from harness.methods import rehearsal
from harness.platforms import debian, libraries
from harness.platforms.debian import Packages
from harness.platforms.libraries import System
from harness.spec import reading

ALWAYS = frozenset({"libgcc_s.so.1", "libstdc++.so.6", "libz.so.1"})


def system(*more: str, glibc: tuple[int, ...] = (2, 36)) -> System:
    """One that has these besides what every base has."""
    return System(title="Debian bookworm with Python 3.11", machine="x86_64", sonames=ALWAYS | {*more}, glibc=glibc)


class Ground:
    """An environment with native files in it, and what systems there are; a test changes what it wants to see."""

    def __init__(self, folder: Path) -> None:
        self.python = folder / "env" / "bin" / "python"
        self.packages = folder / "env" / "lib" / "python3.11" / "site-packages"
        self.sources = folder / "sources"
        self.loader = folder / "system" / "lib"
        for place in (self.packages, self.sources, self.loader):
            place.mkdir(parents=True)
        self.here = system("libxcb.so.1", "libGL.so.1")
        self.bases: dict[tuple[str, ...], System] = {(): system(), ("libxcb1",): system("libxcb.so.1")}
        self.known = Packages(found={"libxcb.so.1": "libxcb1", "libGL.so.1": "libgl1", "libzbar.so.0": "libzbar0"})
        self.made: list[tuple[str, ...]] = []
        self.asked: list[tuple[str, ...]] = []
        self.system_packages: tuple[str, ...] = ()

    def file(self, name: str, *, at: Path | None = None, **said: Any) -> str:
        """A native file among the packages; its path."""
        place = (at or self.packages) / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(elf.library(**said))
        return str(place)

    def look(self, mapped: Sequence[str] | None) -> Needs:
        """What is needed where a start mapped these files; None: it was not traced."""
        model = SimpleNamespace(file=SimpleNamespace(system_packages=self.system_packages))
        said = None if mapped is None else {"modules": ["os"], "mapped": list(mapped)}
        traced = rehearsal.believed(said, self.packages, self.sources)
        lock = SimpleNamespace(python=SimpleNamespace(minor="3.11", files=(self.sources.parent / "stdlib",)))
        locked: Any = SimpleNamespace(model=model, lock=lock)
        return needs.of_model(locked, self.python, self.sources, traced)


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    made = Ground(tmp_path)

    def of_base(minor: str, packages: Sequence[str] = (), *, say: Callable[[str], None]) -> System:
        made.made.append(tuple(packages))
        if tuple(packages) not in made.bases:
            raise MissingComponent("Debian's archive is not in reach")
        return made.bases[tuple(packages)]

    def packages_of(sonames: Sequence[str], suite: str) -> Packages:
        made.asked.append(tuple(sorted(sonames)))
        return made.known

    monkeypatch.delenv("HARNESS_BASE_IMAGE", raising=False)
    monkeypatch.setattr(needs.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(libraries, "here", lambda: made.here)
    monkeypatch.setattr(libraries, "least", lambda _: system())
    monkeypatch.setattr(libraries, "of_base", of_base)
    monkeypatch.setattr(libraries, "folders_here", lambda: [str(made.loader)])
    monkeypatch.setattr(debian, "packages_of", packages_of)
    return made


def test_what_every_base_has_needs_no_look_at_one(ground: Ground) -> None:
    """No image is made and no index asked for a model that needs the C++ runtime alone."""
    file = ground.file(
        "np/core.so", needed=["libstdc++.so.6", "libc.so.6"], versions={"libc.so.6": ["GLIBC_2.27", "GLIBC_2.3"]}
    )
    found = ground.look([file])
    assert (ground.made, ground.asked) == ([], [])
    assert (found.glibc, found.files, found.traced) == ("2.27", 1, True)
    assert [(one.soname, one.loaded, one.in_image) for one in found.libraries] == [("libstdc++.so.6", True, True)]
    assert (found.lacking, found.of_target, found.too_new) == ((), (), ())


def test_what_a_start_loads_and_images_lack(ground: Ground) -> None:
    """Named with who needs it, and its Debian package."""
    file = ground.file("cv2/cv2.so", needed=["libxcb.so.1", "libav.so"])
    ground.file("cv2.libs/libav.so", needed=["libz.so.1"])
    found = ground.look([file])
    (lacking,) = found.lacking
    assert (lacking.soname, lacking.needed_by, lacking.package) == ("libxcb.so.1", ("cv2/cv2.so",), "libxcb1")
    assert (lacking.here, lacking.in_image, lacking.in_base) == (True, False, False)
    assert found.to_add == ("libxcb1",)
    assert needs.on_target(found) == "needs libxcb1 on the target"
    assert ground.asked == [("libxcb.so.1",)]


def test_system_packages_bring_it_to_images(ground: Ground) -> None:
    """Then only a target without them lacks it."""
    file = ground.file("cv2/cv2.so", needed=["libxcb.so.1"])
    ground.system_packages = ("libxcb1",)
    found = ground.look([file])
    assert ground.made == [(), ("libxcb1",)]
    assert found.lacking == ()
    assert [one.package for one in found.of_target] == ["libxcb1"]


def test_what_no_start_loads_is_no_problem(ground: Ground) -> None:
    """Listed; no image is made for it."""
    loaded = ground.file("qt/core.so", needed=["libz.so.1"])
    ground.file("qt/plugins/gl.so", needed=["libGL.so.1"])
    found = ground.look([loaded])
    assert [one.soname for one in found.idle] == ["libGL.so.1"]
    assert (found.lacking, ground.made) == ((), [])


def test_without_a_trace_everything_counts(ground: Ground) -> None:
    """A model that does not answer loads we don't know what."""
    ground.file("qt/plugins/gl.so", needed=["libGL.so.1"])
    found = ground.look(None)
    assert [one.soname for one in found.lacking] == ["libGL.so.1"]
    assert not found.traced


def test_a_library_that_is_opened_by_name_is_found(ground: Ground) -> None:
    """As ``ctypes`` does; what that one needs comes with its package, and what lies elsewhere is nobody's."""
    zbar = ground.file("libzbar.so.0.3", at=ground.loader, soname="libzbar.so.0", needed=["libv4l.so.0"])
    v4l = ground.file("libv4l.so.0.0", at=ground.loader, soname="libv4l.so.0", needed=["libc.so.6"])
    nss = ground.file("libnss_files.so.2", at=ground.loader, soname="libnss_files.so.2")
    codec = ground.file("gconv/UTF-7.so", at=ground.loader, soname="libcodec.so")
    invented = ground.file("invented.so", at=ground.sources.parent, soname="libinvented.so.1")
    found = ground.look([zbar, v4l, nss, codec, invented, "/proc/self/mem", "/nowhere/liba.so", "[heap]"])
    assert [(one.soname, one.needed_by) for one in found.libraries] == [("libzbar.so.0", ("opened while it answers",))]
    assert found.to_add == ("libzbar0",)
    assert found.of_target == ()
    assert needs.on_target(found) == "may need libzbar0 on the target"


def test_a_package_that_is_needed_is_not_also_perhaps_needed(ground: Ground) -> None:
    """Two names of one library: a file needs the one, a start opens the other."""
    ground.known = Packages(found={"libxcb.so.1": "libxcb1", "libxcb.so.1.1": "libxcb1"})
    loaded = ground.file("cv2.so", needed=["libxcb.so.1"])
    opened = ground.file("libxcb.so.1.1", at=ground.loader, soname="libxcb.so.1.1")
    found = ground.look([loaded, opened])
    assert [one.opened for one in found.libraries] == [False, True]
    assert needs.on_target(found) == "needs libxcb1 on the target"


def test_what_python_itself_needs_is_pythons(ground: Ground) -> None:
    """It comes with whatever has that Python."""
    module = ground.file("lib-dynload/_ssl.so", at=ground.sources.parent / "stdlib", needed=["libssl.so.3"])
    ssl = ground.file("libssl.so.3", at=ground.loader, soname="libssl.so.3")
    assert ground.look([module, ssl]).libraries == ()


def test_where_no_base_can_be_had_it_is_not_known(ground: Ground) -> None:
    """With the reason; not a word of what images lack."""
    file = ground.file("cv2/cv2.so", needed=["libxcb.so.1"])
    ground.bases = {}
    found = ground.look([file])
    assert (found.lacking, found.of_target) == ((), ())
    assert [one.soname for one in found.unknown] == ["libxcb.so.1"]
    assert found.absent == "Debian's archive is not in reach"


def test_an_image_of_the_users_own_is_not_looked_into(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said of what it has."""
    monkeypatch.setenv("HARNESS_BASE_IMAGE", "ours:1")
    file = ground.file("cv2/cv2.so", needed=["libxcb.so.1"])
    found = ground.look([file])
    assert (found.lacking, ground.made) == ((), [])
    assert "HARNESS_BASE_IMAGE" in found.absent


def test_a_library_that_no_package_brings(ground: Ground) -> None:
    """It is lacking, and nothing is to add."""
    file = ground.file("own/own.so", needed=["libown.so.1"])
    found = ground.look([file])
    assert [(one.soname, one.package) for one in found.lacking] == [("libown.so.1", "")]
    assert found.to_add == ()


def test_wheels_that_are_too_new_for_the_base(ground: Ground) -> None:
    """Only those of files that a start loads."""
    loaded = ground.file("a.so", versions={"libc.so.6": ["GLIBC_2.38"]})
    ground.file("b.so", versions={"libc.so.6": ["GLIBC_2.99"]})
    assert ground.look([loaded]).too_new == ("glibc 2.38 (the base has 2.36)",)


def test_files_without_sense_are_told(ground: Ground) -> None:
    """On one line each, whatever their names."""
    (ground.packages / "bad\nname.so").write_bytes(b"\x7fELF" + b"\xff" * 100)
    (told,) = ground.look([]).unread
    assert told.startswith("bad\\nname.so: ")


def test_the_record_can_be_kept(ground: Ground, tmp_path: Path) -> None:
    """It is part of a profile: what is written is read again, hostile names included."""
    file = ground.file("x" * 200 + "/y.so", needed=["lib\x1b[31m.so.1", "l" * 4000, "libxcb.so.1"])
    found = ground.look([file])
    table = dataclasses.asdict(found)
    assert reading.record(Needs, table, file=tmp_path) == found
