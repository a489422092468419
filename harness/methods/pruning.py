"""Leaving out of installed packages what no start needs: one place for the rules, used by every method that prunes.

Which rules apply is the model's to say (``prune`` in ``model.toml``); by default those that are safe. A rule keeps
what it is not sure of: a file that a module names in its text stays, and so does one that a start was seen to open
(``--keep``). What is imported is never judged by running anything: the model's code has no part in this.

This file is copied into image builds and run there by itself, so it imports nothing but the standard library, and
nothing of the harness:

    python pruning.py [--keep FILE] [--list] FOLDER RULE...

FILE has one path a line, seen from FOLDER; one that ends with a slash stands for the files directly in that folder.
``-`` reads them from standard input. ``--list`` removes nothing and prints what each rule would remove.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import mmap
import os
import py_compile
import re
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

#: What ``prune`` may name: the rule, and what it does. Unit tests hold the names against ``spec.model.Prune``.
RULES = {
    "tests": "leave out the tests of packages, except what the packages themselves import of them",
    "stubs": "leave out type stubs, except those that are read when a package is imported",
    "headers": "leave out what only compiling against a package needs: headers, Cython and C sources, static libraries",
    "symbols": "leave out of native libraries the symbol tables and debug sections that no loader reads",
    "duplicates": "make files with the same contents one file with several names",
    "metadata": "leave out the lists of installed files in *.dist-info (licences and metadata stay)",
    "sources": "ship bytecode in the place of sources: tracebacks lose their lines, inspect.getsource() fails",
}

#: The rules that no answer of a model, and no message of an error, can depend on: the default.
SAFE = ("tests", "stubs", "headers", "symbols", "duplicates")

_TESTS = frozenset({"test", "tests"})
_STUBS = (".pyi",)
_HEADERS = (
    *(".h", ".hh", ".hpp", ".hxx", ".cuh", ".pxd", ".pxi", ".pyx", ".tp", ".c", ".cc", ".cpp", ".cxx", ".cu"),
    *(".f", ".f90", ".a", ".lib", ".cmake", ".pc"),
)
#: A package that says one of these compiles when it is used: its headers stay.
_COMPILES = re.compile(rb"nvrtc|cpp_extension|load_inline|pyximport|\.set_source\(")
_LISTS = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"})
_NAMES_TESTS = re.compile(rb"^\s*(?:from|import)\s[^#\n]*\btests?\b", re.MULTILINE)
#: A module below a ``tests`` folder that is named in a string, as ``importlib.import_module`` takes it.
_TESTS_IN_STRING = re.compile(rb"""["'](\.*(?:\w+\.)*tests?(?:\.\w+)+)["']""")
#: All files of a kind in a string, as ``glob`` takes them.
_PATTERN = re.compile(rb"""\*(\.[A-Za-z]\w{0,7})["']""")
_NAME_BEFORE = re.compile(rb"[\w.+-]*$")
_LONGEST_NAME = 255

#: How many files ``--list`` names for each rule.
_LISTED = 20_000

#: By rule, how the name of a file or module looks that it leaves out: for messages about one that is missing.
SIGNS = {
    "tests": r"(^|[/.])tests?([/.]|$)",
    "stubs": r"\.pyi$",
    "headers": rf"({'|'.join(re.escape(suffix) for suffix in _HEADERS)})$",
}


@dataclass(frozen=True)
class Pruned:
    """How many bytes and files a folder has less than before; a file's further names count as files, not as bytes."""

    bytes: int
    files: int


def prune(folder: Path, rules: Sequence[str], keep: Iterable[str] = ()) -> Pruned:
    """Apply ``rules`` to the packages in ``folder`` (what ``pip --target`` filled, or a ``site-packages``).

    What ``keep`` names, as the module says, is not removed. No file is changed in place: it may be a further name of
    one in an installer's cache. ValueError for a rule that there is not.
    """
    keep = frozenset(keep)
    before = _size(folder)
    for removed in removable(folder, rules, keep).values():
        for path in removed:
            path.unlink(missing_ok=True)  # two rules may name the same file
            _remove_empty(path.parent, folder)
    if "sources" in rules:
        _leave_out_sources(folder, keep)
    if "symbols" in rules:
        _leave_out_symbols(folder)
    if "duplicates" in rules:
        _share_duplicates(folder)
    after = _size(folder)
    return Pruned(bytes=before[0] - after[0], files=before[1] - after[1])


def removable(folder: Path, rules: Sequence[str], keep: Iterable[str] = ()) -> dict[str, list[Path]]:
    """By rule, the files that it removes; those that ``sources`` replaces are not among them.

    ValueError for a rule that there is not.
    """
    unknown = sorted(set(rules) - set(RULES))
    if unknown:
        raise ValueError(f"no such rule: {', '.join(unknown)}; there are {', '.join(RULES)}")
    keep = frozenset(keep)
    finding = {"tests": _tests, "stubs": _stubs, "headers": _headers, "metadata": _lists}
    found = {rule: list(finds(folder)) for rule, finds in finding.items() if rule in rules}
    going = {path for paths in found.values() for path in paths}
    named = _named(folder, [path for path in going if path.suffix not in {".py", ".pyc"}], going)

    def stays(rule: str, path: Path) -> bool:
        return _kept(path, folder, keep) or (rule != "metadata" and path in named)

    return {rule: [path for path in paths if not stays(rule, path)] for rule, paths in found.items()}


def _kept(path: Path, folder: Path, keep: frozenset[str]) -> bool:
    relative = path.relative_to(folder)
    return relative.as_posix() in keep or f"{relative.parent.as_posix()}/" in keep


def _named(folder: Path, candidates: Sequence[Path], going: set[Path]) -> set[Path]:
    """Those of the ``candidates`` that a module which stays names in its text.

    By its base name anywhere in the closure, or, what is no test, as all files of its kind in its own package. Every
    package has an ``__init__.pyi``, so such a name counts with its folder's only.
    """
    suffixes = {os.fsencode(path.suffix) for path in candidates if path.suffix}
    if not suffixes:
        return set()
    ending = re.compile(rb"(?:" + rb"|".join(re.escape(one) for one in sorted(suffixes, reverse=True)) + rb")(?!\.?\w)")
    names: set[bytes] = set()
    kinds: set[tuple[str, bytes]] = set()
    for path in _files(folder):
        if path.suffix != ".py" or path in going:
            continue
        text = path.read_bytes()
        for match in ending.finditer(text):
            begin = max(match.start() - _LONGEST_NAME, 0)
            before = _NAME_BEFORE.search(text, begin, match.start())
            name = (before.group() if before else b"") + match.group()
            names.add(name)
            if name.startswith(b"__init__."):
                names.add(re.split(rb"[^\w./+-]", text[begin : match.end()])[-1])
        package = path.relative_to(folder).parts[0]
        kinds.update((package, kind) for kind in _PATTERN.findall(text) if kind in suffixes)

    def is_named(path: Path) -> bool:
        relative = path.relative_to(folder)
        of_kind = (relative.parts[0], os.fsencode(path.suffix)) in kinds
        if of_kind and not _TESTS.intersection(relative.parts):
            return True
        if path.stem == "__init__":
            ends = os.fsencode(f"{path.parent.name}/{path.name}")
            return any(name.endswith(ends) for name in names if b"/" in name)
        return os.fsencode(path.name) in names

    return {path for path in candidates if is_named(path)}


def _remove_empty(place: Path, top: Path) -> None:
    """Remove the folder, and those that it is in, as long as nothing is in them."""
    while place != top and place.is_dir() and not any(place.iterdir()):
        place.rmdir()
        place = place.parent


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if not path.is_symlink():
                yield path


def _size(folder: Path) -> tuple[int, int]:
    found = [path.stat() for path in _files(folder)]
    return sum({(one.st_dev, one.st_ino): one.st_size for one in found}.values()), len(found)


# --- tests ---------------------------------------------------------------------------------------


def _tests(folder: Path) -> Iterator[Path]:
    """What is in folders called ``tests`` or ``test`` inside packages, where they hold tests by their files' names.

    NumPy, SciPy and others have modules that import helpers from their tests: those stay, with what they import.
    """
    found = [path for path in _test_folders(folder) if _holds_tests(path)]
    kept = _imported_from(folder, found)
    for path in (path for tests in found for path in _files(tests)):
        source = path.parent.parent / f"{path.name.partition('.')[0]}.py" if path.suffix == ".pyc" else path
        if source not in kept:
            yield path


def _test_folders(folder: Path) -> Iterator[Path]:
    for parent, folders, _ in os.walk(folder):
        for name in sorted(set(folders) & _TESTS):
            # One that lies beside the packages is a package of that name, whatever is in it.
            if Path(parent) != folder:
                folders.remove(name)
                yield Path(parent, name)


def _holds_tests(folder: Path) -> bool:
    return any(re.fullmatch(r"test_.*\.py|.*_test\.py|conftest\.py", path.name) for path in _files(folder))


def _imported_from(folder: Path, tests: Sequence[Path]) -> set[Path]:
    """The modules below ``tests`` that modules elsewhere import, and what those import there in their turn."""
    below = tuple(f"{path}{os.sep}" for path in tests)
    waiting = [path for path in _files(folder) if path.suffix == ".py" and not str(path).startswith(below)]
    kept: set[Path] = set()
    while waiting:
        path = waiting.pop()
        text = path.read_bytes()
        strings = _TESTS_IN_STRING.findall(text) if b"test" in text else []
        modules = [*_absolute(folder, path, strings)]
        if path in kept or _NAMES_TESTS.search(text):
            modules += _imports(folder, path, text)
        for module in modules:
            for file in _module_files(folder, module):
                if str(file).startswith(below) and file not in kept:
                    kept.add(file)
                    waiting.append(file)
    return kept


def _imports(folder: Path, path: Path, text: bytes) -> Iterator[tuple[str, ...]]:
    """Every module that ``path`` may import, absolute; a name imported from a module may be a module too."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    package = path.relative_to(folder).parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = (*above, *(node.module.split(".") if node.module else ()))
            yield module
            yield from ((*module, alias.name) for alias in node.names)


def _absolute(folder: Path, path: Path, names: Iterable[bytes]) -> Iterator[tuple[str, ...]]:
    """The modules of these names, which may begin with dots, seen from the one at ``path``."""
    package = path.relative_to(folder).parts[:-1]
    for name in (one.decode("ascii", "replace") for one in names):
        dots = len(name) - len(name.lstrip("."))
        above = package[: len(package) - dots + 1] if dots else ()
        yield (*above, *name[dots:].split("."))


def _module_files(folder: Path, module: Sequence[str]) -> Iterator[Path]:
    """The file of a module, and those of the packages that it is in."""
    for length in range(1, len(module) + 1):
        place = folder.joinpath(*module[:length])
        for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if os.path.isfile(file):  # False too where no file can be called so: a name may be of any length
                yield file


# --- stubs, headers, lists, sources --------------------------------------------------------------


def _stubs(folder: Path) -> Iterator[Path]:
    """``*.pyi``, unless the module beside it reads it to find its lazy imports (``lazy_loader.attach_stub``)."""
    for path in _files(folder):
        if path.suffix in _STUBS:
            module = path.with_suffix(".py")
            if not module.is_file() or not re.search(rb"attach_stub|\.pyi", module.read_bytes()):
                yield path


def _headers(folder: Path) -> Iterator[Path]:
    """Of packages none of whose modules says that it compiles when it is used."""
    for package in sorted(folder.iterdir()):
        if not package.is_dir() or package.is_symlink():
            continue
        files = list(_files(package))
        going = [path for path in files if path.suffix in _HEADERS]
        if going and not any(path.suffix == ".py" and _COMPILES.search(path.read_bytes()) for path in files):
            yield from going


def _lists(folder: Path) -> Iterator[Path]:
    for path in _files(folder):
        if path.parent.suffix == ".dist-info" and path.name in _LISTS:
            yield path


def _leave_out_sources(folder: Path, keep: frozenset[str]) -> None:
    """``module.pyc`` in the place of ``module.py``, which Python imports as well; what can't be compiled stays."""
    for path in list(_files(folder)):
        if path.suffix == ".py" and path.parent != folder / "bin" and not _kept(path, folder, keep):
            name = path.relative_to(folder).as_posix()  # what tracebacks say
            try:
                py_compile.compile(
                    str(path),
                    cfile=str(path.with_suffix(".pyc")),
                    dfile=name,
                    doraise=True,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )
            except (py_compile.PyCompileError, ValueError):
                continue
            path.unlink()
    for cache in [path for path in folder.rglob("__pycache__") if path.is_dir()]:
        for path in cache.glob("*.pyc"):
            if not (cache.parent / f"{path.name.partition('.')[0]}.py").is_file():
                path.unlink()
        if not any(cache.iterdir()):
            cache.rmdir()


# --- native libraries ----------------------------------------------------------------------------

_ELF64_LITTLE = b"\x7fELF\x02\x01"
_SHT_SYMTAB, _SHT_NOBITS, _SHF_ALLOC = 2, 8, 2
_SECTION = struct.Struct("<IIQQQQIIQQ")  # Elf64_Shdr: name type flags addr offset size link info addralign entsize
_SEGMENT = struct.Struct("<IIQQQQQQ")  # Elf64_Phdr: type flags offset vaddr paddr filesz memsz align
_SMALLEST_GAIN = 4096


def _leave_out_symbols(folder: Path) -> None:
    for path in list(_files(folder)):
        if ".so" in path.suffixes and path.stat().st_size > _SMALLEST_GAIN:
            # Looked at where it lies: one of PyTorch's libraries has 400 MB.
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as contents:
                stripped = without_symbols(contents)
            if stripped is not None:
                _replace(path, stripped)


def without_symbols(contents: bytes | mmap.mmap) -> bytearray | None:
    """A native library without its static symbol table and debug sections; None where nothing is to be gained.

    As Debian does with the libraries of its packages (dh_strip(1), read 2026-11-23). The layout is that of elf(5).
    The loader goes by segments: no byte that belongs to one moves or changes. What lies between segments is made
    zero, what lies behind the last is cut off, and the table of sections, which debuggers read, is written anew.
    """
    if contents[: len(_ELF64_LITTLE)] != _ELF64_LITTLE:
        return None
    try:
        return _stripped(contents)
    except (struct.error, IndexError, ValueError, OverflowError):
        return None  # not laid out as we know it: it stays as it is


def _stripped(contents: bytes | mmap.mmap) -> bytearray | None:
    segments_at, sections_at = struct.unpack_from("<QQ", contents, 32)
    segment_size, segment_count, section_size, section_count, names = struct.unpack_from("<HHHHH", contents, 54)
    if segment_size != _SEGMENT.size or section_size != _SECTION.size or not segment_count or not section_count:
        return None
    segments = [_SEGMENT.unpack_from(contents, segments_at + i * segment_size) for i in range(segment_count)]
    sections = [list(_SECTION.unpack_from(contents, sections_at + i * section_size)) for i in range(section_count)]
    going = _removable(contents, sections, names)
    if not going or any(sections[i][6] in going for i in range(section_count) if i not in going):
        return None
    held = [(one[2], one[2] + one[5]) for one in segments]
    end = max(stop for _, stop in held)
    table_end = sections_at + section_count * section_size
    last = max(end, table_end, *(one[4] + one[5] for one in sections if one[1] != _SHT_NOBITS))
    # Something that is put behind a library is read by who has put it there.
    if end > len(contents) or len(contents) - last >= _SECTION.size or _overlaps(sections_at, table_end, held):
        return None
    new, zeros = bytearray(contents[:end]), 0
    for i in sorted(going):
        begin, stop = sections[i][4], sections[i][4] + sections[i][5]
        if _overlaps(begin, stop, held):
            return None  # it may be read
        if begin < end:
            new[begin : min(stop, end)] = bytes(min(stop, end) - begin)
            zeros += min(stop, end) - begin
        sections[i] = [0] * 10
    for section in sections:
        _, kind, flags, _, begin, size = section[:6]
        if kind in (0, _SHT_NOBITS) or begin + size <= end:
            continue
        if flags & _SHF_ALLOC:
            return None
        gap = -len(new) % max(section[8], 1)
        if len(new) + gap + size > len(contents):
            return None  # it would grow, without bound where a section says so
        new += bytes(gap)
        section[4] = len(new)
        new += contents[begin : begin + size]
    table = b"".join(_SECTION.pack(*section) for section in sections)
    if sections_at + len(table) > end:
        new += bytes(-len(new) % 8)
        sections_at = len(new)
        struct.pack_into("<Q", new, 40, sections_at)
    new[sections_at : sections_at + len(table)] = table
    # Zeros count as well: they weigh nothing in an archive.
    gained = len(contents) - len(new) + zeros
    return new if len(new) <= len(contents) and gained >= _SMALLEST_GAIN else None


def _overlaps(begin: int, stop: int, held: Sequence[tuple[int, int]]) -> bool:
    return any(begin < other_stop and other_begin < stop for other_begin, other_stop in held)


def _removable(contents: bytes | mmap.mmap, sections: Sequence[Sequence[int]], names: int) -> set[int]:
    """The numbers of the sections that no loader reads: static symbols with their strings, and debug sections."""
    texts = contents[sections[names][4] : sections[names][4] + sections[names][5]]
    going: set[int] = set()
    for number, section in enumerate(sections):
        name = texts[section[0] : texts.index(b"\0", section[0])]
        if section[2] & _SHF_ALLOC:
            continue
        if section[1] == _SHT_SYMTAB:
            going |= {number, section[6]} - {names}
        elif name.startswith((b".debug_", b".zdebug_")):
            going.add(number)
    return going


def _replace(path: Path, contents: bytearray) -> None:
    """Give ``path`` new contents, its mode and dates kept; another name of the old file keeps the old contents."""
    status = path.stat()
    part = path.with_name(path.name + ".part")
    part.write_bytes(contents)
    os.chmod(part, status.st_mode)
    os.utime(part, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(part, path)


# --- duplicates ----------------------------------------------------------------------------------


def _digest(file: IO[bytes]) -> str:
    total = hashlib.sha256()
    while block := file.read(2**20):  # hashlib.file_digest came with Python 3.11
        total.update(block)
    return total.hexdigest()


def _share_duplicates(folder: Path) -> None:
    """Files of the same contents and mode become hard links; wheels carry the same native library more than once."""
    alike: dict[tuple[int, int], list[Path]] = {}
    for path in _files(folder):
        status = path.stat()
        if status.st_size >= _SMALLEST_GAIN:
            alike.setdefault((status.st_size, status.st_mode), []).append(path)
    for paths in alike.values():
        first: dict[str, Path] = {}
        for path in paths if len(paths) > 1 else ():
            with path.open("rb") as file:
                digest = _digest(file)
            known = first.setdefault(digest, path)
            if known is not path and not known.samefile(path):
                part = path.with_name(path.name + ".part")
                os.link(known, part)
                os.replace(part, path)


def _main(arguments: Sequence[str]) -> Mapping[str, object]:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("rules", nargs="*")
    parser.add_argument("--keep", default="")
    parser.add_argument("--list", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.keep == "-":
        keep = sys.stdin.read().splitlines()
    else:
        keep = Path(asked.keep).read_text(encoding="utf-8").splitlines() if asked.keep else []
    if not asked.list:
        return asdict(prune(asked.folder, asked.rules, keep))
    found = removable(asked.folder, asked.rules, keep)
    return {
        rule: [path.relative_to(asked.folder).as_posix() for path in paths[:_LISTED]] for rule, paths in found.items()
    }


if __name__ == "__main__":
    json.dump(_main(sys.argv[1:]), sys.stdout)
