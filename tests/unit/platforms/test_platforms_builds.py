"""Builds of images, without an engine: what is bounded of what they say and make."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from harness.errors import BuildFailure, CheckFailure
from harness.platforms import builds, engine_reach

THERE = engine_reach.described("unix:///x", "private", {})


class Builder:
    """docker-py's client; ``said`` is what the builder says."""

    def __init__(self, said: Callable[[], Iterator[dict[str, Any]]]) -> None:
        self._said = said
        self.asked: dict[str, Any] = {}
        self.removed: list[str] = []
        self.hooks: dict[str, list[Any]] = {"response": []}

    def build(self, **options: Any) -> Iterator[dict[str, Any]]:
        self.asked = options
        return self._said()

    def inspect_image(self, _: str) -> dict[str, Any]:
        return {"Id": "sha256:ab"}

    def containers(self, **options: Any) -> list[dict[str, Any]]:
        assert options["filters"] == {"label": [f"{builds.BUILD_LABEL}=t:1"]}
        return [{"Id": "left"}]

    def remove_container(self, name: str, **_: Any) -> None:
        self.removed.append(name)

    def prune_images(self, **_: Any) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        """As a session's."""


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[Builder, builds.BuiltImage]]:
    """Build with a builder that says this."""
    monkeypatch.setenv("HARNESS_MAX_MEMORY_MB", "1024")

    def build(said: Callable[[], Iterator[dict[str, Any]]], **more: Any) -> tuple[Builder, builds.BuiltImage]:
        builder = builds_with(monkeypatch, said)
        return builder, builds.build_image(THERE, tmp_path, "FROM x\n", "t:1", **more)

    return build


def builds_with(monkeypatch: pytest.MonkeyPatch, said: Callable[[], Iterator[dict[str, Any]]]) -> Builder:
    builder = Builder(said)

    def client(*_: Any) -> Builder:
        return builder

    client.__wrapped__ = client  # type: ignore[attr-defined]
    monkeypatch.setattr(engine_reach, "client", client)
    return builder


def test_what_is_run_is_in_bounds(built: Any) -> None:
    """No network, the ceiling's memory and no swap, and its containers are removed; the log's lines are cut."""
    builder, image = built(lambda: iter([{"stream": "x" * 10**6}, {"aux": {"ID": "sha256:ab"}}]), timeout_s=30)
    assert builder.asked["network_mode"] == "none"
    assert builder.asked["container_limits"] == {"memory": 2**30, "memswap": 2**30}
    assert builder.asked["rm"]
    assert builder.asked["forcerm"]
    assert builder.asked["timeout"] == 30
    assert len(image.log) == 1000


def test_endless_output_is_no_endless_log(built: Any) -> None:
    _, image = built(lambda: ({"stream": "y" * 2000} for _ in range(5000)))
    assert len(image.log) < 500_000


@pytest.mark.parametrize("how", ["chatty", "silent"])
def test_a_build_that_never_ends_is_broken_off(how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What it left running is removed."""

    def chatty() -> Iterator[dict[str, Any]]:
        while True:
            yield {"stream": "on and on"}

    def silent() -> Iterator[dict[str, Any]]:
        yield {"stream": "Step 1"}
        raise urllib3.exceptions.ReadTimeoutError(None, "", "Read timed out.")  # type: ignore[arg-type]

    builder = builds_with(monkeypatch, {"chatty": chatty, "silent": silent}[how])
    with pytest.raises(BuildFailure, match=r"did not end within 0\.1 s"):
        builds.build_image(THERE, tmp_path, "FROM x\n", "t:1", timeout_s=0.1)
    assert builder.removed == ["left"]


def test_the_files_of_an_image_are_counted_to_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In layers' folders and in an archive."""
    monkeypatch.setattr(builds, "_MOST_FILES", 3)
    for number in range(3):
        (tmp_path / str(number)).write_text("x")
    assert builds.size_of_layers((tmp_path,)).files == 3
    (tmp_path / "4").write_text("x")
    with pytest.raises(CheckFailure, match="more than 3 files"):
        builds.size_of_layers((tmp_path,))
    layer, archive = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for number in range(4):
            tar.addfile(tarfile.TarInfo(str(number)))
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("a/layer.tar")
        entry.size = len(layer.getvalue())
        tar.addfile(entry, io.BytesIO(layer.getvalue()))
    archive.seek(0)
    with pytest.raises(CheckFailure, match="more than 3 files"):
        builds.size_of_archive(archive)


def test_an_export_does_not_fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_MAX_DISK_MB", "1")
    monkeypatch.setattr(builds, "image_layers", lambda *_: None)
    builder = builds_with(monkeypatch, lambda: iter([]))
    builder.get_image = lambda _: (b"x" * 2**20 for _ in range(10**9))  # type: ignore[attr-defined]
    with pytest.raises(CheckFailure, match="HARNESS_MAX_DISK_MB"):
        builds.unpacked_size(THERE, "t:1")


def test_images_without_a_name_are_removed_whatever_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of ours: every build stage has the label."""
    asked: list[Any] = []

    class Engine:
        def prune_images(self, **options: Any) -> dict[str, Any]:
            asked.append(options)
            return {"ImagesDeleted": [{"Untagged": "x@sha256:1"}, {"Deleted": "sha256:1"}, {"Deleted": "sha256:2"}]}

    @contextlib.contextmanager
    def asking(*_: Any, **__: Any) -> Iterator[Engine]:
        yield Engine()

    monkeypatch.setattr(builds, "asking", asking)
    assert builds.prune_all_stages(THERE) == 2
    assert asked == [{"filters": {"dangling": True, "label": [builds.BUILD_LABEL]}}]
