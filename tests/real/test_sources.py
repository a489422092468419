"""Packages that have no wheel, and packages of an index of their own: from a server of the test's, built for real."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import ceiling, files, paths, tools
from harness.errors import BadInput, BuildFailure, HarnessError
from harness.spec import environments, fetching
from harness.spec import lock as locks
from harness.spec import model as models
from harness.spec.lock import LOCK_NAME
from harness.spec.locked import Lock

TRACE = Path("/var/tmp/harness-test-was-built-outside")

BACKEND = """
import contextlib, os, zipfile
NAME, VERSION, REQUIRES, ASKS = {name!r}, {version!r}, {requires!r}, {asks!r}
with contextlib.suppress(OSError):
    open({trace!r}, "w").write("built")

def get_requires_for_build_wheel(settings=None):
    return ASKS

def build_wheel(out, settings=None, metadata=None):
    global NAME, VERSION, REQUIRES
    info, file = f"{{NAME}}-{{VERSION}}.dist-info", f"{{NAME}}-{{VERSION}}-py3-none-any.whl"
    said = {{}}
{steps}
    needs = "".join(f"Requires-Dist: {{one}}\\n" for one in REQUIRES)
    contents = {{
        f"{{NAME}}.py": f"SAID = {{said!r}}\\n",
        f"{{info}}/METADATA": f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n{{needs}}",
        f"{{info}}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{{info}}/RECORD": "",
    }}
    with zipfile.ZipFile(os.path.join(out, file), "w") as made:
        for path, text in contents.items():
            made.writestr(zipfile.ZipInfo(path), text)
    return file
"""


class Index:
    """A package index on the loopback interface; ``odd`` says how it answers to some paths."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.password = ""
        self.odd: dict[str, Callable[[http.server.BaseHTTPRequestHandler], None]] = {}
        index = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.answer(self)

            do_HEAD = do_GET  # noqa: N815 -- its name is the request's

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/simple"

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.path)
        if self.password and handler.headers.get("Authorization") != f"Basic {self.password}":
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Basic realm="packages"')
            handler.end_headers()
            return
        if handler.path in self.odd:
            self.odd[handler.path](handler)
            return
        kind, _, rest = handler.path.strip("/").partition("/")
        place = self.folder / rest
        if kind == "simple" and rest and place.is_dir():
            links = [
                f'<a href="/files/{rest}/{file.name}#sha256={_sha256(file)}">{file.name}</a>' for file in _files(place)
            ]
            reply(handler, "".join(links).encode())
        elif kind == "files" and place.is_file():
            reply(handler, place.read_bytes())
        else:
            handler.send_error(404)

    def sdist(
        self,
        name: str,
        version: str = "1.0",
        *,
        steps: str = "pass",
        requires: tuple[str, ...] = (),
        asks: tuple[str, ...] = (),
        build_requires: tuple[str, ...] = (),
        says: str | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> str:
        """Put a source distribution there, whose backend takes the ``steps`` before it writes the wheel; its sha256."""
        body = "\n".join(f"    {line}" for line in steps.splitlines())
        backend = BACKEND.format(
            name=says or name, version=version, requires=list(requires), asks=list(asks), steps=body, trace=str(TRACE)
        )
        system = {"requires": list(build_requires), "build-backend": "backend", "backend-path": ["."]}
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in system.items())
        contents = {
            "backend.py": backend,
            "pyproject.toml": f"[build-system]\n{lines}\n",
            "PKG-INFO": f"Metadata-Version: 1.1\nName: {name}\nVersion: {version}\n",
            **(extra or {}),
        }
        place = self.folder / name
        place.mkdir(exist_ok=True)
        file = place / f"{name}-{version}.tar.gz"
        with gzip.GzipFile(file, "w", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as archive:
            for path, text in contents.items():
                member = tarfile.TarInfo(f"{name}-{version}/{path}")
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        return _sha256(file)

    def wheel(self, name: str, version: str = "1.0", *, requires: tuple[str, ...] = (), text: str = "") -> str:
        """Put a wheel there; its sha256."""
        info = f"{name}-{version}.dist-info"
        needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
        (self.folder / name).mkdir(exist_ok=True)
        file = self.folder / name / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(file, "w") as made:
            made.writestr(f"{name}.py", text)
            made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
            made.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            made.writestr(f"{info}/RECORD", "")
        return _sha256(file)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def reply(handler: http.server.BaseHTTPRequestHandler, body: bytes, kind: str = "text/html", status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


@pytest.fixture
def indexes(tmp_path: Path, cache: Path) -> Iterator[Callable[[], Index]]:
    """Makes indexes, which are gone afterwards."""
    tools.executable("pip")  # from the machine's own index
    made: list[Index] = []

    def make() -> Index:
        folder = tmp_path / f"index-{len(made)}"
        folder.mkdir()
        made.append(Index(folder))
        return made[-1]

    yield make
    for index in made:
        index.server.shutdown()
        index.server.server_close()


@pytest.fixture
def index(indexes: Callable[[], Index], monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The index that the user has configured. Whatever is built from it, nothing is left behind and nothing got out."""
    made = indexes()
    for name in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, made.url)
    for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "2")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "2")
    TRACE.unlink(missing_ok=True)
    files.remove(paths.cache() / "locks")  # of earlier tests, whose packages were others
    yield made
    assert not TRACE.exists(), "the build was run outside the door"
    left = [path for path in (paths.cache() / "tmp").glob("*") if not path.name.startswith("disk-")]
    assert left == []


def locked(make_model: Any, *requirements: str, lock_text: str | None = None, **keys: Any) -> Lock:
    """The lock of a model that requires these."""
    index = keys.pop("index", ())
    folder = make_model("tiny", requirements=list(requirements), **keys)
    with (folder / "model.toml").open("a") as file:
        for one in index:
            file.write("[[index]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in one.items()))
    if lock_text is not None:
        (folder / LOCK_NAME).write_text(lock_text)
    return locks.lock(models.read(folder))


# --- source distributions ------------------------------------------------------------------------

READS = """
import needy

def load(model_dir):
    return needy

def predict(model, inputs):
    return [[model.SAID["asked"], model.SAID["deep"], model.SAID["user"] == 0] for _ in inputs]
"""


def test_a_package_without_a_wheel_is_built_and_installed(index: Index, make_model: Any, harness: Any) -> None:
    """What its wheel requires is locked too; its build has what it names, what it asks for, and what that is built of.

    Afterwards it needs no index; the lock that travels names the source, by its sha256.
    """
    index.sdist("deep", steps="said['deep'] = True")
    index.wheel("asked", text="WORD = 'asked for'")
    index.wheel("below", "2.0")
    index.wheel("above", requires=("needy",))
    sdist = index.sdist(
        "needy",
        steps="import asked, deep\nsaid = {'asked': asked.WORD, 'deep': deep.SAID['deep'], 'user': os.getuid()}",
        requires=("below>=1 ; python_version > '3'",),
        asks=("asked",),
        build_requires=("deep",),
    )
    folder = make_model("tiny", READS, requirements=["above"], outputs=[["asked for", True, False]] * 3)
    checked = harness("check", folder, "--json").expect(0).json
    [found] = [step["found"] for step in checked["steps"] if step["name"] == "requirements"]
    assert found.startswith("3 packages")
    assert found.endswith("1 built from source: needy")
    harness("lock", folder).expect(0)
    text = (folder / LOCK_NAME).read_text()
    assert f"needy==1.0 \\\n    --hash=sha256:{sdist}\n    # built from source sha256:{sdist}\n" in text
    index.server.shutdown()
    lock = locks.lock(models.read(folder))
    [source] = lock.sources
    assert (source.name, source.version, source.sdist) == ("needy", "1.0", sdist)
    [wheel] = lock.wheels.glob("needy-*")
    assert _sha256(wheel) == source.wheel
    assert source.wheel in lock.requirements.read_text()


def test_a_lock_that_travels_is_built_elsewhere(index: Index, make_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is resolved: the source that it names is fetched and built. Another file of that name is refused."""
    from harness.spec import pins

    sdist = index.sdist("carried")
    text = f"carried==1.0 --hash=sha256:{sdist}\n    # built from source sha256:{sdist}\n"
    found = locked(make_model, "carried", lock_text=pins.header(["carried"]) + text)
    assert [source.sdist for source in found.sources] == [sdist]
    assert environments.installed(found).is_file()
    other = text.replace(sdist, "0" * 64)
    with pytest.raises(BuildFailure, match=f"sha256 {sdist}, and {'0' * 64} is locked"):
        locked(make_model, "carried", lock_text=pins.header(["carried"]) + other)


def test_a_wheel_goes_before_a_source(index: Index, make_model: Any) -> None:
    """Of an older version too: nothing is built where nothing has to be."""
    index.wheel("either")
    index.sdist("either", "2.0")
    found = locked(make_model, "either")
    assert found.packages == (("either", "1.0"),)
    assert found.sources == ()


def test_a_wheel_that_is_gone_is_built_again(index: Index, make_model: Any) -> None:
    """And is the same, bit for bit, where its build has no will of its own."""
    index.sdist("again")
    first = locked(make_model, "again")
    for file in (paths.cache() / "wheelhouse" / first.sources[0].wheel).iterdir():
        file.unlink()
    second = locked(make_model, "again")
    assert second.sources == first.sources


STEPS = {
    "its name": (
        "NAME = 'other'; info = 'other-1.0.dist-info'; file = 'other-1.0-py3-none-any.whl'",
        "is not",
    ),
    "its version": ("file = f'{NAME}-9.0-py3-none-any.whl'; info = f'{NAME}-9.0.dist-info'", "is not"),
    "its version inside": ("VERSION = '9.0'", "is not"),
    "hangs": ("import time\ntime.sleep(3600)", "did not end within 3 s"),
    "fills the disk": (
        "with open('much', 'wb') as f:\n    while True:\n        f.write(bytes(2**20))",
        "writes more than",
    ),
    "network": ("import urllib.request\nurllib.request.urlopen('https://example.org')", "wants the network"),
    "header": ('raise SystemExit("x.c:1:10: fatal error: zlib.h: No such file or directory")', "zlib.h"),
    "compiler": ("import subprocess\nsubprocess.run(['/usr/bin/nonesuch-cmake'.replace('nonesuch-', 'x/')])", "cmake"),
    "no wheel": ("import sys\nsys.exit(0)", "0 files"),
    "a link": ("os.symlink('/etc/passwd', os.path.join(out, file)); return file", "link"),
    "a pipe": ("os.mkfifo(os.path.join(out, file)); return file", "pipe"),
    "rubbish": ("open(os.path.join(out, file), 'w').write('PK'); return file", "wheel"),
    "another system": ("file = f'{NAME}-1.0-cp39-cp39-win_amd64.whl'", "not for Python"),
    "writes outside": ("open('/usr/lib/harness-planted', 'w')", "/usr/lib/harness-planted"),
    "an address": ("REQUIRES = ['x @ file:///etc/passwd']", "requires"),
}


@pytest.mark.parametrize("case", STEPS)
def test_a_build_that_misbehaves_is_named(
    case: str, index: Index, make_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package, what was wrong, and what to do; nothing of it is kept."""
    steps, says = STEPS[case]
    monkeypatch.setenv(ceiling.SECONDS, "3" if case == "hangs" else "120")
    monkeypatch.setenv(ceiling.DISK, "64")
    name = f"bad{list(STEPS).index(case)}"
    index.sdist(name, steps=steps)
    with pytest.raises(BuildFailure, match=says) as raised:
        locked(make_model, name)
    assert f"{name} 1.0" in raised.value.problem
    assert raised.value.remedy
    assert not Path("/usr/lib/harness-planted").exists()
    assert list((paths.cache() / "wheelhouse").rglob(f"{name}-*.whl")) == []
    if case == "header":
        assert "apt-get install zlib1g-dev" in raised.value.remedy


def test_a_build_that_requires_itself_ends(index: Index, make_model: Any) -> None:
    """By way of another, too."""
    index.sdist("circle", build_requires=("round-about",))
    index.sdist("round-about", says="round_about", build_requires=("circle",))
    with pytest.raises(BuildFailure, match=r"circle 1\.0 has no wheel, and its build requires itself"):
        locked(make_model, "circle")


def test_an_sdist_of_another_name_is_refused_before_it_runs(index: Index, make_model: Any) -> None:
    """What it says that it is stands in it."""
    index.sdist("liar", extra={"PKG-INFO": "Metadata-Version: 1.1\nName: honest\nVersion: 1.0\n"})
    with pytest.raises(BuildFailure, match=r"says that it is 'honest' '1.0', not liar 1.0"):
        locked(make_model, "liar")


# --- indexes that answer wrongly or slowly -------------------------------------------------------


def _stall(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    handler.wfile.flush()
    time.sleep(8)


def _drip(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    for _ in range(40):
        try:
            handler.wfile.write(b"x")
            handler.wfile.flush()
        except OSError:
            return
        time.sleep(0.25)


ODD = {
    "other bytes": (lambda handler: reply(handler, b"other"), "sha256", {}),
    "not found": (lambda handler: handler.send_error(404), "HTTP status 404", {}),
    "broken": (lambda handler: handler.send_error(500), "HTTP status 500", {}),
    "stalls": (_stall, "nothing came for 2 s", {}),
    "drips": (_drip, "did not arrive within 4 s", {}),
}


@pytest.mark.parametrize("case", ODD)
def test_a_source_that_cannot_be_fetched_is_named(
    case: str, index: Index, make_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came, and within which time."""
    answer, says, _ = ODD[case]
    name = f"odd{list(ODD).index(case)}"
    index.sdist(name)
    index.odd[f"/files/{name}/{name}-1.0.tar.gz"] = answer
    monkeypatch.setattr(fetching, "_TIMEOUT_S", 4 if case == "drips" else 60)
    with pytest.raises(BuildFailure, match=says) as raised:
        locked(make_model, name)
    assert f"{name} 1.0" in raised.value.problem
    assert raised.value.remedy


@pytest.mark.parametrize("case", ["rubbish", "not found", "stalls"])
def test_an_index_that_answers_wrongly_is_an_error(case: str, index: Index, make_model: Any) -> None:
    """Of uv's words, with file, key and remedy; not the harness's own end."""
    index.sdist("page")
    pages: Mapping[str, Callable[[http.server.BaseHTTPRequestHandler], None]] = {
        "rubbish": lambda handler: reply(handler, b"<html><a href='javascript:'>page-1.0.tar.gz</a" * 1000),
        "not found": lambda handler: handler.send_error(404),
        "stalls": _stall,
    }
    index.odd["/simple/page/"] = pages[case]
    with pytest.raises(HarnessError) as raised:
        locked(make_model, "page")
    assert isinstance(raised.value, BadInput | BuildFailure)
    assert "page" in str(raised.value)
    assert raised.value.remedy


# --- indexes of a model's own --------------------------------------------------------------------


def own(index: Index, *packages: str) -> dict[str, Any]:
    return {"name": "company", "url": index.url, "packages": list(packages)}


def test_a_package_comes_from_its_index_alone(
    index: Index, indexes: Callable[[], Index], make_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever puts a higher version of its name elsewhere is not asked, also where another package requires it."""
    company = indexes()
    index.wheel("secret", "99.0")
    ours = company.wheel("secret", "1.0")
    company.sdist("inner", "1.0")
    index.sdist("inner", "99.0")
    company.wheel("common", "99.0")
    index.wheel("common", "1.0", requires=("secret", "inner"))
    company.wheel("unneeded", "1.0")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", index.url)
    found = locked(make_model, "common", index=[own(company, "secret", "inner", "unneeded")])
    assert found.packages == (("common", "1.0"), ("inner", "1.0"), ("secret", "1.0"))
    assert [source.name for source in found.sources] == ["inner"]
    assert ours in found.requirements.read_text()
    assert f"# from {company.url}" in found.requirements.read_text()
    assert not [path for path in index.asked if "secret" in path or "inner" in path]
    assert not [path for path in company.asked if "common" in path]


def test_a_lock_that_travels_names_no_index_but_the_models(
    index: Index, indexes: Callable[[], Index], make_model: Any
) -> None:
    """Nor does it take a package that belongs to an index from elsewhere."""
    from harness.spec import pins

    company = indexes()
    digest = company.wheel("secret")
    pin = f"{pins.header(['secret'])}secret==1.0 --hash=sha256:{digest}\n"
    with pytest.raises(BadInput, match=r"names an index that model.toml does not name"):
        locked(make_model, "secret", lock_text=f"{pin}    # from {company.url}\n")
    with pytest.raises(BadInput, match="an index of the user"):
        locked(make_model, "secret", lock_text=pin, index=[own(company, "secret")])
    found = locked(make_model, "secret", lock_text=f"{pin}    # from {company.url}\n", index=[own(company, "secret")])
    assert found.packages == (("secret", "1.0"),)
    assert index.asked == []


def test_passwords_come_from_the_users_netrc(
    index: Index, indexes: Callable[[], Index], make_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of uv, of pip, and where a source distribution is fetched."""
    company = indexes()
    company.wheel("closed", requires=("locked-away",))
    company.sdist("locked-away", says="locked_away")
    company.password = base64.b64encode(b"me:secret").decode()
    table = own(company, "closed", "locked-away")
    with pytest.raises(HarnessError):
        locked(make_model, "closed", index=[table])
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    found = locked(make_model, "closed", index=[table])
    assert found.packages == (("closed", "1.0"), ("locked-away", "1.0"))
    assert "secret" not in found.requirements.read_text()
