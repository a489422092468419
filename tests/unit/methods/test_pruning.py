"""What is left out of installed packages, and what never is."""

from __future__ import annotations

import importlib.util
import json
import re
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, get_args

import pytest

from harness.errors import BadInput
from harness.methods import pruning
from harness.spec import model as spec


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder that packages were installed into."""
    return write(
        tmp_path / "packages",
        {
            "alone.py": "X = 1\n",
            "big/__init__.py": "from big.core import answer\n",
            "big/core.py": "def answer():\n    raise ValueError('no')\n",
            "big/core.pyi": "def answer() -> None: ...\n",
            "big/core.h": "int answer(void);\n",
            "big/tests/__init__.py": "",
            "big/tests/test_core.py": "from big.tests.data import TABLE\n",
            "big/tests/data.py": "TABLE = []\n",
            "big/tests/table.csv": "1,2\n" * 1000,
            "big-1.0.dist-info/METADATA": "Name: big\n",
            "big-1.0.dist-info/RECORD": "big/core.py,,\n",
            "big-1.0.dist-info/licenses/LICENSE": "As is.\n",
        },
    )


def write(folder: Path, files: dict[str, str]) -> Path:
    """The files below ``folder``."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def names(folder: Path) -> set[str]:
    """Every file below ``folder``."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_rules_are_those_that_a_model_may_name() -> None:
    """The file that is shipped into builds can't import the specification; the names are the same all the same."""
    assert set(pruning.RULES) == set(get_args(spec.Prune))
    assert pruning.SAFE == spec.SAFE_PRUNE
    with pytest.raises(ValueError, match="no such rule: leaves; there are tests"):
        pruning.prune(Path("/nowhere"), ["tests", "leaves"])


def test_a_model_says_what_is_pruned(folder: Any) -> None:
    """By default what is safe; nothing where it says so; BadInput for what there is not."""
    assert folder.read().file.prune == pruning.SAFE
    assert folder.write(prune=[]).read().file.prune == ()
    assert folder.write(prune=["sources"]).read().file.prune == ("sources",)
    with pytest.raises(BadInput, match="prune"):
        folder.write(prune=["leaves"]).read()


def test_no_rule_leaves_everything(packages: Path) -> None:
    """``prune = []`` means nothing is pruned."""
    before = names(packages)
    assert pruning.prune(packages, []) == pruning.Pruned(bytes=0, files=0)
    assert names(packages) == before


def test_what_is_safe_leaves_modules_licences_and_metadata(packages: Path) -> None:
    """Tests with their data, stubs and headers go, and what went is counted."""
    gone = {name for name in names(packages) if name.startswith("big/tests/")} | {"big/core.pyi", "big/core.h"}
    size = sum((packages / name).stat().st_size for name in gone)
    before = names(packages)
    assert pruning.prune(packages, pruning.SAFE) == pruning.Pruned(bytes=size, files=len(gone))
    assert names(packages) == before - gone


def test_tests_that_are_imported_stay(packages: Path) -> None:
    """With what they import in their turn, by any way of importing, but without their data."""
    write(packages, {"big/helper.py": "def f():\n    from .tests import test_core\n"})
    pruning.prune(packages, ["tests"])
    left = {name for name in names(packages) if name.startswith("big/tests/")}
    assert left == {"big/tests/__init__.py", "big/tests/test_core.py", "big/tests/data.py"}


def test_a_mention_of_tests_is_no_import(packages: Path) -> None:
    """Neither in prose, nor in a file that is no Python after all."""
    write(
        packages, {"big/prose.py": '"""\nfrom big.tests comes nothing\n"""\n', "big/old.py": "from big.tests import\n"}
    )
    pruning.prune(packages, ["tests"])
    assert not (packages / "big/tests").exists()


def test_what_is_called_tests_and_holds_none_stays(packages: Path) -> None:
    """Django's ``django.test`` is what users import, and a package at the top may be called so."""
    write(
        packages, {"web/test/__init__.py": "", "web/test/client.py": "", "tests/test_it.py": "", "test/__init__.py": ""}
    )
    pruning.prune(packages, ["tests"])
    assert {"web/test/client.py", "tests/test_it.py", "test/__init__.py"} <= names(packages)


def test_bytecode_of_tests_goes_with_them(packages: Path) -> None:
    """And stays with those that stay."""
    write(packages, {"big/helper.py": "import big.tests.data\n"})
    for name in ("data", "test_core"):
        write(packages, {f"big/tests/__pycache__/{name}.cpython-311.pyc": ""})
    pruning.prune(packages, ["tests"])
    left = {name for name in names(packages) if name.startswith("big/tests/")}
    assert left == {"big/tests/__init__.py", "big/tests/data.py", "big/tests/__pycache__/data.cpython-311.pyc"}


def test_stubs_that_are_read_stay(packages: Path) -> None:
    """scikit-image and others find their lazy imports in the stub beside the module."""
    write(
        packages,
        {"lazy/__init__.py": "lazy_loader.attach_stub(__name__, __file__)\n", "lazy/__init__.pyi": "", "big/x.pyi": ""},
    )
    pruning.prune(packages, ["stubs"])
    assert {name for name in names(packages) if name.endswith(".pyi")} == {"lazy/__init__.pyi"}


def test_a_file_that_a_module_names_stays(packages: Path) -> None:
    """Kernels that are read when a package is imported; also of another package, and also below its tests."""
    write(
        packages,
        {
            "kern/__init__.py": "SOURCE = (HERE / '_kernels.cu').read_text()\n",
            "kern/_kernels.cu": "",
            "kern/other.cu": "",
            "kern/core/__init__.pyi": "",
            "uses.py": "open(core.__file__ + '/../core.h'); here / 'core/__init__.pyi'; 'tests/table.csv'\n",
        },
    )
    pruning.prune(packages, pruning.SAFE)
    left = names(packages)
    assert {"kern/_kernels.cu", "kern/core/__init__.pyi", "big/core.h", "big/tests/table.csv"} <= left
    assert not {"kern/other.cu", "big/core.pyi", "big/tests/data.py"} & left


def test_a_test_names_nothing(packages: Path) -> None:
    """What only tests read goes with them; nor does a longer name stand for the shorter one."""
    write(packages, {"big/tests/test_core.py": "'core.h'\n", "big/more.py": "'table.csv.gz', 'big/core.hpp'\n"})
    pruning.prune(packages, pruning.SAFE)
    assert not {"big/core.h", "big/tests/table.csv", "big/tests/__init__.py"} & names(packages)


def test_all_files_of_a_kind_stay_where_their_package_lists_them(packages: Path) -> None:
    """Only its own: a package's pattern says nothing of another's headers, nor of its tests."""
    write(packages, {"kern/__init__.py": "HERE.glob('*.h')\n", "kern/a.h": "", "kern/a.c": "", "kern/tests/b.h": ""})
    write(packages, {"kern/tests/test_it.py": ""})
    pruning.prune(packages, pruning.SAFE)
    assert {name for name in names(packages) if name.endswith((".h", ".c"))} == {"kern/a.h"}


def test_tests_that_are_imported_by_a_name_in_a_string_stay(packages: Path) -> None:
    """As importlib.import_module takes it, absolute or from where it stands."""
    write(
        packages, {"big/lazy.py": "import_module('.tests.data', __package__)\n", "x.py": "go('big.tests.test_core')\n"}
    )
    pruning.prune(packages, ["tests"])
    left = {name for name in names(packages) if name.startswith("big/tests/")}
    assert left == {"big/tests/__init__.py", "big/tests/data.py", "big/tests/test_core.py"}


def test_what_a_start_was_seen_to_open_stays(packages: Path) -> None:
    """By any rule: a file, and the files directly in a folder that was listed."""
    write(packages, {"big/inner/a.h": "", "big/inner/deep/b.h": "", "big/read.py": "X = 2\n"})
    keep = ["big/tests/table.csv", "big/core.pyi", "big/inner/", "big-1.0.dist-info/RECORD", "big/read.py", "../up"]
    pruning.prune(packages, list(pruning.RULES), keep)
    left = names(packages)
    assert {"big/tests/table.csv", "big/core.pyi", "big/inner/a.h", "big/read.py"} <= left
    assert "big-1.0.dist-info/RECORD" in left
    assert not {"big/inner/deep/b.h", "big/core.h", "big/tests/data.py", "big/core.py"} & left
    assert not (packages / "big/inner/deep").exists()


def test_what_would_go_is_told_by_rule(packages: Path) -> None:
    """Nothing goes meanwhile."""
    before = names(packages)
    found = pruning.removable(packages, ["stubs", "headers", "symbols"], ["big/core.h"])
    assert {rule: [path.name for path in paths] for rule, paths in found.items()} == {
        "stubs": ["core.pyi"],
        "headers": [],
    }
    assert names(packages) == before


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("big/tests/table.csv", "tests"),
        ("big.tests.data", "tests"),
        ("test/a.txt", "tests"),
        ("big/core.pyi", "stubs"),
        ("big/_kernels.cu", "headers"),
        ("big/latest.csv", None),
        ("big/testing/a.csv", None),
        ("big/core.html", None),
    ],
)
def test_a_missing_file_is_known_by_its_name(name: str, rule: str | None) -> None:
    """For messages of an artifact, which has no list of what was removed."""
    assert next((rule for rule, sign in pruning.SIGNS.items() if re.search(sign, name)), None) == rule


def test_headers_stay_where_a_package_compiles(packages: Path) -> None:
    """CuPy compiles its kernels when they are called, against headers of its own."""
    write(packages, {"kernels/nvrtc.py": "import nvrtc\n", "kernels/include/a.cuh": "", "big/src/b.pyx": ""})
    pruning.prune(packages, ["headers"])
    assert {name for name in names(packages) if name.endswith((".cuh", ".pyx", ".h"))} == {"kernels/include/a.cuh"}


def test_lists_of_files_go_licences_stay(packages: Path) -> None:
    """A licence asks to be passed on."""
    pruning.prune(packages, ["metadata"])
    left = {name for name in names(packages) if "dist-info" in name}
    assert left == {"big-1.0.dist-info/METADATA", "big-1.0.dist-info/licenses/LICENSE"}


def test_sources_become_bytecode_that_imports(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no Python stays, programs stay, and no stale bytecode is left."""
    write(packages, {"big/template.py": "{{ name }} =\n", "bin/program.py": "print()\n"})
    write(packages, {"big/__pycache__/core.cpython-311.pyc": ""})
    pruning.prune(packages, ["sources"])
    left = names(packages)
    assert {"big/__init__.pyc", "big/core.pyc", "alone.pyc", "big/template.py", "bin/program.py"} <= left
    assert not [name for name in left if "__pycache__" in name]
    monkeypatch.syspath_prepend(str(packages))
    spec_found = importlib.util.find_spec("big")
    assert spec_found is not None
    assert str(spec_found.origin).endswith("big/__init__.pyc")


def test_the_same_file_twice_is_one_with_two_names(packages: Path) -> None:
    """Larger ones; what differs in its contents or its mode does not become one."""
    native = "x" * 10_000
    write(packages, {"a/lib.so.1": native, "b/lib.so.1": native, "c/lib.so.1": native, "d/lib.so.1": "y" * 10_000})
    write(packages, {"a/small": "x", "b/small": "x"})
    (packages / "c/lib.so.1").chmod(0o755)
    assert pruning.prune(packages, ["duplicates"]) == pruning.Pruned(bytes=10_000, files=0)
    assert (packages / "a/lib.so.1").samefile(packages / "b/lib.so.1")
    for other in ("c/lib.so.1", "d/lib.so.1"):
        assert not (packages / "a/lib.so.1").samefile(packages / other)
    assert not (packages / "a/small").samefile(packages / "b/small")
    assert pruning.prune(packages, ["duplicates"]) == pruning.Pruned(bytes=0, files=0)


# --- native libraries ----------------------------------------------------------------------------


def library(*, in_between: bool = False, held: bool = False, used: bool = False) -> bytes:
    """An ELF library: a segment, symbols with strings, a comment, and where asked for a segment behind them.

    ``held``: the last segment holds the symbols too. ``used``: another section refers to them.
    """
    code, symbols, strings, comment = b"\x90" * 4096, b"s" * 9000, b"t" * 9000, b"GCC\0"
    names = b"\0.text\0.symtab\0.strtab\0.comment\0.shstrtab\0"
    segments = 2 if in_between else 1
    head = 64 + 56 * segments
    at = head + len(code)
    kinds = [(b".text", 1, 2, head, code, 0), (b".symtab", 2, 0, at, symbols, 3)]
    kinds += [(b".strtab", 3, 0, at + 9000, strings, 0), (b".comment", 1, 0, at + 18000, comment, 2 if used else 0)]
    kinds += [(b".shstrtab", 3, 0, at + 18004, names, 0)]
    table = bytes(64)
    for name, kind, flags, offset, contents, link in kinds:
        table += struct.pack("<IIQQQQIIQQ", names.index(name), kind, flags, 0, offset, len(contents), link, 0, 1, 0)
    last = b"\x91" * 4096 if in_between else b""
    table_at = at + 18004 + len(names)
    last_at = table_at + len(table)
    begin, size = (at, last_at + len(last) - at) if held else (last_at, len(last))
    programs = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, head + len(code), head + len(code), 4096)
    if in_between:
        programs += struct.pack("<IIQQQQQQ", 1, 6, begin, begin, begin, size, size, 4096)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQ", 3, 62, 1, 0, 64, table_at)
    header += struct.pack("<IHHHHHH", 0, 64, 56, segments, 64, len(kinds) + 1, 5)
    return header + programs + code + symbols + strings + comment + names + table + last


def test_symbols_behind_the_last_segment_are_cut_off() -> None:
    """Every byte of the segment stays where it was, and the table of sections is whole without them."""
    before = library()
    after = pruning.without_symbols(before)
    assert after is not None
    assert len(before) - len(after) >= 18_000 - 16
    assert after[64 : 64 + 56 + 4096] == before[64 : 64 + 56 + 4096]
    table_at, count = struct.unpack_from("<Q", after, 40)[0], struct.unpack_from("<H", after, 60)[0]
    assert table_at + count * 64 == len(after)
    sections = [struct.unpack_from("<IIQQQQIIQQ", after, table_at + 64 * i) for i in range(count)]
    assert [section[1] for section in sections] == [0, 1, 0, 0, 1, 3]
    assert after[sections[4][4] :].startswith(b"GCC\0")
    assert after[sections[5][4] :].startswith(b"\0.text\0")
    assert pruning.without_symbols(after) is None


def test_symbols_between_segments_become_zeros() -> None:
    """Tools that bundle libraries put a segment behind them: it may not move."""
    before = library(in_between=True)
    after = pruning.without_symbols(before)
    assert after is not None
    assert len(after) == len(before)
    assert after.count(b"s" * 100) == after.count(b"t" * 100) == 0
    assert after[-4096:] == before[-4096:]


@pytest.mark.parametrize(
    "contents",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"INPUT(libgfortran.so.5)\n", id="a linker's script"),
        pytest.param(library()[:200], id="cut short"),
        pytest.param(b"\x7fELF\x01" + library()[5:], id="for 32 bits"),
        pytest.param(library(in_between=True, held=True), id="in a segment"),
        pytest.param(library(used=True), id="referred to"),
        pytest.param(library() + b"PK" * 500, id="something behind it"),
    ],
)
def test_a_library_that_is_laid_out_otherwise_stays(contents: bytes) -> None:
    """Better too large than broken."""
    assert pruning.without_symbols(contents) is None


def test_a_file_in_the_installers_cache_keeps_its_contents(packages: Path, tmp_path: Path) -> None:
    """uv gives a file of its cache a further name; the mode and the dates go over to the new one."""
    write(packages, {"big/native.so": ""})
    path, cached = packages / "big/native.so", tmp_path / "cached"
    path.write_bytes(library())
    path.chmod(0o755)
    cached.hardlink_to(path)
    dated = path.stat().st_mtime_ns
    assert pruning.prune(packages, ["symbols"]).bytes > 17_000
    assert cached.read_bytes() == library()
    assert (path.stat().st_mode & 0o777, path.stat().st_mtime_ns) == (0o755, dated)


@pytest.mark.spawns
def test_it_runs_by_itself(packages: Path) -> None:
    """As in the first stage of an image: another interpreter, none of our packages."""
    script = packages.parent / "pruning.py"
    script.write_bytes(Path(pruning.__file__).read_bytes())
    python = sysconfig.get_config_var("BINDIR") + f"/python{sys.version_info[0]}.{sys.version_info[1]}"
    keep = packages.parent / "keep.txt"
    keep.write_text("big/tests/table.csv\n")

    def run(*arguments: str, said: str = "") -> Any:
        argv = [python, "-I", "-S", str(script), *arguments]
        return json.loads(subprocess.run(argv, input=said, capture_output=True, text=True, check=True).stdout)

    listed = run("--list", "--keep", "-", str(packages), "tests", "stubs", said="big/tests/data.py\n")
    assert len(listed["tests"]) == 3
    assert listed["stubs"] == ["big/core.pyi"]
    assert run("--keep", str(keep), str(packages), "tests")["files"] == 3
    assert run(str(packages))["files"] == 0
