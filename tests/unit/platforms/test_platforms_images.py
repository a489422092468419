"""Base images and builds: recipes, command lines, archives, sizes. No engine and no tool is started here."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput, BuildFailure, DiskFull, MissingComponent
from harness.platforms import builds, images
from harness.platforms.engine import Engine

ENGINE = Engine(
    url="unix:///nowhere.sock",
    kind="private",
    version="20.10.24",
    storage_driver="overlay2",
    data_root=Path("/nowhere"),
    cgroup_version="v1",
    cgroup_driver="cgroupfs",
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, and none of the user's settings."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    for name in ("HARNESS_BASE_IMAGE", "HARNESS_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def member(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, io.BytesIO]:
    """An entry of an archive."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry, io.BytesIO(content)


def archive(*members: tuple[tarfile.TarInfo, io.BytesIO]) -> bytes:
    """A tar of these."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for entry, content in members:
            tar.addfile(entry, content)
    return stream.getvalue()


# --- recipes -------------------------------------------------------------------------------------


def test_a_recipe_is_the_same_every_time_and_another_for_another_content() -> None:
    assert images.recipe("3.11") == images.recipe("3.11")
    others = [images.recipe("3.11"), images.recipe("3.13"), images.recipe("3.11", ["libgomp1"])]
    assert len(set(others)) == len(others)
    assert images.recipe("3.11", ["a1", "b2"]) == images.recipe("3.11", ["b2", "a1"])


def test_a_recipe_changes_with_the_script_that_finishes_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = images.recipe("3.11")
    changed = tmp_path / "base_image.sh"
    changed.write_text(images._FINISH.read_text() + "# changed\n")
    monkeypatch.setattr(images, "_FINISH", changed)
    assert images.recipe("3.11") != before


@pytest.mark.parametrize(("minor", "suite"), [("3.9", "bullseye"), ("3.11", "bookworm"), ("3.13", "trixie")])
def test_each_python_comes_from_the_debian_release_that_has_it(minor: str, suite: str) -> None:
    argv = images.command(minor, ["libgomp1"], Path("/t/root.tar"))
    assert argv[0] == "mmdebstrap"
    assert argv[-2:] == [suite, "/t/root.tar"]
    included = next(option for option in argv if option.startswith("--include=")).removeprefix("--include=").split(",")
    assert {"libpython3-stdlib", "libstdc++6", "libgomp1", "tzdata"} <= set(included)
    assert ("python3-distutils" in included) == (minor != "3.13")


def test_no_command_names_a_host() -> None:
    assert not any("://" in part for part in images.command("3.11", [], Path("/t/root.tar")))


def test_a_python_that_no_release_has_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_REGISTRY", "off")
    monkeypatch.setattr(images, "_inspected", lambda *_: None)
    with pytest.raises(MissingComponent, match=r"no Debian release has Python 3\.12") as raised:
        images.base(ENGINE, "3.12")
    assert "HARNESS_BASE_IMAGE" in raised.value.remedy


def test_without_mmdebstrap_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_REGISTRY", "off")
    monkeypatch.setattr(images, "_inspected", lambda *_: None)
    monkeypatch.setattr("harness.platforms.images.shutil.which", lambda _name: None)
    with pytest.raises(MissingComponent) as raised:
        images.base(ENGINE, "3.11")
    assert "apt-get install mmdebstrap" in raised.value.remedy


def test_an_archive_that_is_out_of_reach_is_a_missing_component() -> None:
    error = images._not_made("Err:1 http://x bookworm InRelease\n  Could not resolve 'x'\nE: apt failed", "3.11")
    assert isinstance(error, MissingComponent)
    assert "Err:1" in error.problem
    assert isinstance(images._not_made("E: Unable to locate package nosuch", "3.11"), BuildFailure)


def test_a_misspelt_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_REGISTRY", "maybe")
    with pytest.raises(BadInput, match="HARNESS_REGISTRY"):
        images.base(ENGINE, "3.11")


# --- which base ----------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where a base image was looked for; nothing is there, no registry answers."""
    looked: list[str] = []

    def debian(_engine: Engine, minor: str, packages: Any, _say: Any) -> str:
        looked.append(f"debian {minor} {list(packages)}")
        return "debian's"

    def offered(_engine: Engine, name: str) -> bool:
        looked.append(f"registry {name}")
        return False

    monkeypatch.setattr(images, "_inspected", lambda *_: None)
    monkeypatch.setattr(images, "_present", lambda *_, **__: None)
    monkeypatch.setattr(images, "_debian", debian)
    monkeypatch.setattr(images, "_offered", offered)
    return looked


def test_a_silent_registry_costs_time_once(asked: list[str]) -> None:
    images.base(ENGINE, "3.11")
    images.base(ENGINE, "3.11")
    assert asked == ["registry python:3.11-slim", "debian 3.11 []", "debian 3.11 []"]


def test_no_registry_is_asked_if_that_is_switched_off(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_REGISTRY", "off")
    images.base(ENGINE, "3.11")
    assert asked == ["debian 3.11 []"]


@pytest.mark.usefixtures("asked")
def test_a_registry_that_is_insisted_on_must_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_REGISTRY", "on")
    with pytest.raises(MissingComponent, match=r"no registry offers python:3\.11-slim"):
        images.base(ENGINE, "3.11")


def test_system_packages_come_with_debians_image(asked: list[str]) -> None:
    images.base(ENGINE, "3.11", packages=["libgomp1"])
    assert asked == ["debian 3.11 ['libgomp1']"]


def test_what_was_chosen_once_stays_chosen(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {"ml-packaging-harness.source": "mmdebstrap bookworm"}
    there = {"Id": "sha256:1", "Config": {"Labels": labels}, "RootFS": {"Layers": ["sha256:a", "sha256:b"]}}
    monkeypatch.setattr(images, "_inspected", lambda _engine, name: there if images.recipe("3.11") in name else None)
    found = images.base(ENGINE, "3.11")
    assert (found.reference, found.source, found.layers) == ("sha256:1", "mmdebstrap bookworm", 2)
    assert asked == []


def test_a_named_image_is_used_for_its_python(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setenv("HARNESS_BASE_IMAGE", "mirror/python:{minor}-slim")
    monkeypatch.setattr(images, "_derive", lambda _engine, name, *_: names.append(name))
    images.base(ENGINE, "3.13")
    assert names == ["mirror/python:3.13-slim"]


# --- the archive ---------------------------------------------------------------------------------


def test_the_image_archive_depends_on_its_contents_alone_and_lists_the_packages(tmp_path: Path) -> None:
    root = tmp_path / "root.tar"
    status = b"Package: zlib1g\nArchitecture: amd64\nVersion: 1:1.2.13\n"
    root.write_bytes(archive(member("./var/lib/dpkg/status.d/zlib1g", status), member("./etc/passwd", b"root\n")))
    first, second = io.BytesIO(), io.BytesIO()
    images.write_image(root, first, tag="t:1", minor="3.11")
    os.utime(root, (1, 1))
    images.write_image(root, second, tag="t:1", minor="3.11")
    assert first.getvalue() == second.getvalue()

    first.seek(0)
    with tarfile.open(fileobj=first) as tar:
        content = {entry.name: stream.read() for entry in tar if (stream := tar.extractfile(entry)) is not None}
    manifest = json.loads(content["manifest.json"])[0]
    config = json.loads(content[manifest["Config"]])
    assert manifest["RepoTags"] == ["t:1"]
    assert manifest["Layers"] == [config["rootfs"]["diff_ids"][0].removeprefix("sha256:") + "/layer.tar"]
    assert content[manifest["Layers"][0]] == root.read_bytes()
    assert config["config"]["Labels"]["ml-packaging-harness.packages"] == "zlib1g=1:1.2.13"
    assert config["config"]["Labels"]["ml-packaging-harness.source"] == "mmdebstrap bookworm"


# --- builds --------------------------------------------------------------------------------------


def test_every_stage_gets_the_label_by_which_it_is_found_again() -> None:
    text = "# FROM is a word\nFROM a AS build\nRUN true\nfrom b\nCOPY --from=build /x /x\n"
    label = 'LABEL ml-packaging-harness.build="t:1"'
    expected = f"# FROM is a word\nFROM a AS build\n{label}\nRUN true\nfrom b\n{label}\nCOPY --from=build /x /x\n"
    assert builds.label_stages(text, "t:1") == expected


def test_the_context_keeps_dates_and_belongs_to_root(tmp_path: Path) -> None:
    folder = tmp_path / "context"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "b").write_text("b")
    (folder / "a").symlink_to("sub/b")
    os.utime(folder / "sub" / "b", (1_000_000_000, 1_000_000_000))
    with builds._context(folder, "FROM x\n") as stream, tarfile.open(fileobj=stream) as tar:
        entries = {entry.name: entry for entry in tar}
        assert list(entries) == ["a", "sub", "sub/b", "Dockerfile.harness"]
        assert entries["sub/b"].mtime == 1_000_000_000
        assert entries["a"].linkname == "sub/b"
        assert {(entry.uid, entry.gid, entry.uname) for entry in entries.values()} == {(0, 0, "")}


def test_a_failed_build_raises_with_what_the_builder_said() -> None:
    answers = [{"stream": "Step 1/2 : RUN x\n"}, {"stream": "\x1b[91mx: not found\n\x1b[0m"}, {"error": "code: 127"}]
    with pytest.raises(BuildFailure) as raised:
        builds._followed(answers, "t:1")
    assert raised.value.log.splitlines() == ["Step 1/2 : RUN x", "x: not found", "code: 127"]
    with pytest.raises(DiskFull):
        builds._followed([{"error": "write /x: no space left on device"}], "t:1")


def test_the_id_and_the_log_of_a_build_are_read() -> None:
    answers: list[dict[str, Any]] = [
        {"stream": "Step 1/1 : FROM x\n"},
        {"aux": {"ID": "sha256:2"}},
        {"stream": "Successfully built 2\n"},
    ]
    assert builds._followed(answers, "t:1") == ("sha256:2", "Step 1/1 : FROM x\nSuccessfully built 2")


def test_sizes_by_layers_count_hard_links_once_and_links_as_what_they_are(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    (lower / "d").mkdir(parents=True)
    upper.mkdir()
    (lower / "d" / "f").write_bytes(b"x" * 10)
    os.link(lower / "d" / "f", lower / "d" / "hard")
    (lower / "soft").symlink_to("d/f")
    (lower / "folder").symlink_to("d")
    (upper / "f").write_bytes(b"y" * 5)
    found = builds.size_of_layers((upper, lower))
    assert (found.total_bytes, found.files, found.source) == (10 + 3 + 1 + 5, 4, "layers")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make the device that marks a deleted file")
def test_marks_of_deleted_files_are_not_files(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "gone", 0o20000, 0)
    except PermissionError:
        pytest.skip("this container may not make device files")
    (tmp_path / "there").write_bytes(b"x")
    assert builds.size_of_layers((tmp_path,)).files == 1


def test_sizes_by_archive_are_the_same_by_the_same_rules() -> None:
    layer = archive(
        member("d", type=tarfile.DIRTYPE),
        member("d/f", b"x" * 10),
        member("d/hard", type=tarfile.LNKTYPE, linkname="d/f"),
        member("soft", type=tarfile.SYMTYPE, linkname="d/f"),
        member(".wh.gone"),
    )
    saved = archive(member("manifest.json", b"[]"), member("1/layer.tar", layer), member("c.json", b"{}"))
    found = builds.size_of_archive(io.BytesIO(saved))
    assert (found.total_bytes, found.files, found.source) == (13, 2, "archive")
