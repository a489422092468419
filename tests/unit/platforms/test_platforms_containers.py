"""Containers and the registry: what they are told, and how their answers are read. No engine is asked here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import CheckFailure, MissingComponent
from harness.platforms import containers, registry


def test_a_container_may_do_nothing_that_it_does_not_need() -> None:
    told = containers.bounds(
        mounts={Path("/host/x"): "/run/x"},
        shown={Path("/host/y"): "/opt/y"},
        memory_bytes=64 * 2**20,
        processes=16,
        cpus=0.5,
        scratch={"/tmp": 1024},
        network="none",
    )
    assert told["network_mode"] == "none"
    assert told["read_only"] is True
    assert told["cap_drop"] == ["ALL"]
    assert told["security_opt"] == ["no-new-privileges"]
    assert told["mem_limit"] == told["memswap_limit"] == 64 * 2**20
    assert told["pids_limit"] == 16
    assert told["nano_cpus"] == 500_000_000
    assert told["binds"] == {
        "/host/x": {"bind": "/run/x", "mode": "rw"},
        "/host/y": {"bind": "/opt/y", "mode": "ro"},
    }
    assert "size=1024" in told["tmpfs"]["/tmp"]
    assert told["log_config"]["config"]["max-size"] == "1m"


def test_an_open_share_of_the_cpus_is_left_open() -> None:
    told = containers.bounds(mounts={}, shown={}, memory_bytes=1, processes=1, cpus=None, scratch={}, network="none")
    assert told["nano_cpus"] is None


@pytest.mark.parametrize(
    ("code", "expected"), [(0, 0), (1, 1), (127, 127), (128, 128), (137, -9), (143, -15), (255, 255)]
)
def test_a_signal_is_a_negative_exit_code(code: int, expected: int) -> None:
    assert containers.signed_exit_code(code) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2023-01-27T00:00:00.25Z", 1674777600.25),
        ("2026-11-23T13:47:24.500000001Z", 1795441644.500000001),
    ],
)
def test_the_engines_times_are_read_with_their_nanoseconds(text: str, expected: float) -> None:
    assert containers.parse_time(text) == pytest.approx(expected, abs=1e-6)


def test_other_times_are_refused() -> None:
    with pytest.raises(ValueError, match="not a time"):
        containers.parse_time("yesterday")


def test_usage_is_read_from_the_engines_statistics_of_either_version() -> None:
    v1 = {
        "memory_stats": {"max_usage": 10, "stats": {"total_rss": 4}},
        "cpu_stats": {"cpu_usage": {"total_usage": 2e9}},
    }
    found = containers.usage_of_stats(v1)
    assert (found.peak_memory_bytes, found.anonymous_bytes, found.cpu_s) == (10, 4, 2.0)
    v2 = {"memory_stats": {"usage": 10, "stats": {"anon": 3}}, "cpu_stats": {}}
    found = containers.usage_of_stats(v2)
    assert (found.peak_memory_bytes, found.anonymous_bytes, found.cpu_s) == (None, 3, None)


MANIFEST = {
    "schemaVersion": 2,
    "config": {"size": 100, "digest": "sha256:c"},
    "layers": [{"size": 10, "digest": "sha256:a"}, {"size": 5, "digest": "sha256:b"}],
}


def test_what_travels_is_the_layers_and_the_configuration() -> None:
    found = registry.pushed_image("127.0.0.1:1/x@sha256:m", "sha256:m", MANIFEST)
    assert found.packed_bytes == 115
    assert [layer.digest for layer in found.layers] == ["sha256:a", "sha256:b"]
    assert found.pieces == {"sha256:a": 10, "sha256:b": 5, "sha256:c": 100}
    assert [found.lowest_bytes(count) for count in (0, 1, 2)] == [0, 10, 15]


def test_a_layer_that_an_image_has_twice_travels_once() -> None:
    """Empty layers are alike, whatever made them."""
    twice = {**MANIFEST, "layers": [{"size": 10, "digest": "sha256:a"}] * 2}
    found = registry.pushed_image("x", "d", twice)
    assert (found.packed_bytes, found.lowest_bytes(2)) == (110, 10)


def test_a_manifest_without_layers_is_refused() -> None:
    with pytest.raises(CheckFailure, match="no layers"):
        registry.pushed_image("x", "d", {"schemaVersion": 1})


def test_an_index_is_followed_to_its_image(monkeypatch: pytest.MonkeyPatch) -> None:
    index = {
        "manifests": [
            {"digest": "sha256:attestation", "platform": {"os": "unknown"}},
            {"digest": "sha256:m", "platform": {"os": "linux"}},
        ]
    }
    answers = {"/v2/x/manifests/tag": (index, "sha256:i"), "/v2/x/manifests/sha256:m": (MANIFEST, "sha256:m")}
    monkeypatch.setattr(registry, "_get", lambda _registry, path: answers[path])
    assert registry.manifest_of(registry.Registry(address="a"), "x", "tag") == (MANIFEST, "sha256:m")


def test_the_registry_listens_on_loopback_only_and_keeps_quiet() -> None:
    told = json.loads(registry.configuration(Path("/f"), 5001))
    assert told["http"]["addr"] == "127.0.0.1:5001"
    assert told["storage"]["filesystem"]["rootdirectory"] == "/f/storage"
    assert told["log"]["level"] == "error"


def test_without_a_registry_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_program", lambda: None)
    with pytest.raises(MissingComponent) as raised:
        registry.check()
    assert raised.value.remedy == "apt-get install docker-registry"


KILLED = {"Running": False, "ExitCode": 137, "OOMKilled": False}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        pytest.param([{**KILLED, "OOMKilled": True}], True, id="said with the end"),
        pytest.param([KILLED, KILLED, {**KILLED, "OOMKilled": True}], True, id="said a little later"),
        pytest.param([KILLED], False, id="never said"),
        pytest.param([{"Running": True, "ExitCode": 0, "OOMKilled": False}], False, id="runs"),
        pytest.param([{"Running": False, "ExitCode": 3, "OOMKilled": False}], False, id="ended by itself"),
    ],
)
def test_a_kill_for_memory_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, states: list[dict[str, Any]], expected: bool
) -> None:
    """The engine hears of it by another event than of the end; only who was killed is waited for, and not for ever."""
    monkeypatch.setattr(containers, "_EVENTS_APART_S", 0.1)
    left = [*states]
    monkeypatch.setattr(containers.ContainerHandle, "_state", lambda _: left.pop(0) if len(left) > 1 else left[0])
    engine: Any = None
    stamps = {"spawned_s": 0.0, "created_s": 0.0, "sandbox_s": 0.0}
    handle = containers.ContainerHandle(engine=engine, id="i", name="n", pid=0, group=None, **stamps)
    assert handle.oom_killed() is expected
