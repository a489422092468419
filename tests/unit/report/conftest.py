"""Made-up evidence for the report's tests: two models, four methods, and everything that can be wrong with them."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from harness import bootstrap
from harness.metrics import METRICS, PHASES, START_STATES
from harness.store.query import Evidence, Value
from harness.store.records import Manifest

RUN = "20240102T030405Z-made-up"
METHODS = ("container", "venv", "pex", "rest-api")
ROUNDS = 9

#: packed MB, unpacked MB, files, build s, install s, phases page-warm, phases disk-cold, memory MB, CPU s.
_DIGITS: Mapping[str, tuple[object, ...]] = {
    "container": (168.4, 421.7, 14210, 21.4, 4.31, (0.31, 0.09, 0.62, 0.012, 0.004), (0.34, 0.31, 1.94, 0.05, 0.006), 188.0, 1.02),
    "venv": (92.7, 301.2, 9321, 4.9, 3.02, (0.012, 0.04, 0.61, 0.011, 0.004), (0.013, 0.22, 1.71, 0.04, 0.006), 151.0, 0.81),
    "pex": (88.1, 289.9, 9330, 9.8, 0.04, (0.012, 0.19, 0.64, 0.012, 0.004), (0.013, 3.9, 1.33, 0.04, 0.006), 155.0, 0.97),
    "rest-api": (99.3, 322.4, 10544, 5.6, 3.31, (0.012, 0.04, 0.93, 0.012, 0.011), (0.013, 0.23, 2.2, 0.04, 0.014), 174.0, 1.21),
}
_SPAM: Mapping[str, tuple[object, ...]] = {
    name: (
        packed,
        unpacked,
        files,
        build,
        install,
        tuple(phase * (0.05 if index == 2 else 1) for index, phase in enumerate(warm)),  # type: ignore[arg-type,var-annotated]
        tuple(phase * (0.08 if index == 2 else 0.6) for index, phase in enumerate(cold)),  # type: ignore[arg-type,var-annotated]
        memory,
        cpu,
    )
    for (name, (*_, warm, cold, _m, _c)), (packed, unpacked, files, build, install, memory, cpu) in zip(
        _DIGITS.items(),
        (
            (49.1, 131.2, 4120, 9.9, 1.2, 21.0, 0.11),
            (0.0213, 0.0871, 12, 0.42, 0.09, 14.0, 0.06),
            (0.291, 0.911, 141, 0.9, 0.01, 22.0, 0.19),
            (6.51, 23.4, 1122, 1.4, 0.6, 44.0, 0.44),
        ),
        strict=True,
    )
}


def value(
    model: str,
    method: str,
    metric: str,
    numbers: list[float],
    state: str = "",
    **more: object,
) -> Value:
    """A value with one sample per round."""
    by_round = dict(enumerate(numbers, start=1))
    return Value(
        model=model,
        method=method,
        limits="default",
        metric=metric,
        state=state,  # type: ignore[arg-type]  # the tests' own states
        fidelity=more.pop("fidelity", "measured"),  # type: ignore[arg-type]
        by_round=by_round,
        interval=bootstrap.interval(numbers) if numbers else None,
        **more,  # type: ignore[arg-type]
    )


def _method_values(model: str, method: str, row: tuple[object, ...], rng: random.Random) -> list[Value]:
    packed, unpacked, files, build, install, warm, cold, memory, cpu = row

    def noisy(middle: float, spread: float = 0.03, rounds: int = ROUNDS) -> list[float]:
        return [middle * rng.lognormvariate(0, spread) for _ in range(rounds)]

    found = [
        value(model, method, "packed_bytes", [round(packed * 1e6)] * 3),  # type: ignore[operator]
        value(model, method, "unpacked_bytes", [round(unpacked * 1e6)] * 3),  # type: ignore[operator]
        value(model, method, "files", [files] * 3),  # type: ignore[list-item]
        value(model, method, "build_clean_s", noisy(build, 0.05, 3)),  # type: ignore[arg-type]
        value(model, method, "install_s", noisy(install)),  # type: ignore[arg-type]
    ]
    for state, phases in zip(START_STATES, (warm, cold), strict=True):
        parts = [noisy(phase, 0.08 if state == "disk-cold" else 0.02) for phase in phases]  # type: ignore[attr-defined]
        total = [sum(each) for each in zip(*parts, strict=True)]
        found.append(value(model, method, "cold_start_s", total, state, dropped=int(state == "disk-cold")))
        found += [
            value(model, method, f"phase_{name}_s", part, state) for name, part in zip(PHASES, parts, strict=True)
        ]
        for metric, middle in (("peak_memory_bytes", memory), ("peak_resident_bytes", memory), ("cpu_to_first_s", cpu)):
            scaled = middle * (1e6 if "bytes" in metric else 1)  # type: ignore[operator]
            found.append(value(model, method, metric, noisy(scaled, 0.01), state))
    found.append(value(model, method, "parity", [1.0] * ROUNDS))
    return found


def manifest() -> Manifest:
    """``run.json`` of the made-up run, with a hostile string in it."""
    return Manifest(
        schema_version=1,
        run_id=RUN,
        created_at="2024-01-02T03:04:05+00:00",
        finished_at="2024-01-02T03:21:40+00:00",
        harness_version="0.1.0",
        plan={
            "models": ["digits-forest", "spam-bayes"],
            "methods": list(METHODS),
            "rounds": ROUNDS,
            "states": list(START_STATES),
            "seed": 20230127,
            "profile": "standard",
            "limits": {"default": {"memory_bytes": 2_000_000_000, "cpus": None}},
        },
        host={"processor": "Made-up CPU <b>|x|</b>", "cores": 2, "memory_bytes": 8_201_433_088, "kernel": "6.1.0"},
        tools={"docker": "20.10.24", "uv": "0.9.1", "pex": "2.70.0"},
        models={name: {"digest": "sha256:" + digit * 64} for name, digit in (("digits-forest", "a"), ("spam-bayes", "b"))},
        artifacts={f"digits-forest/{name}": {"digest": "sha256:" + "cdef"[index] * 64} for index, name in enumerate(METHODS)},
        availability={name: {"ready": True, "reason": "", "remedy": ""} for name in METHODS},
        timings={"tools": 402.14, "instances": 611.7, "harness": 31.2},
    )


def digits() -> Evidence:
    """A model that all four methods package; one phase is emulated, one value is absent."""
    rng = random.Random(7)
    model = "digits-forest"
    values = [item for name in METHODS for item in _method_values(model, name, _DIGITS[name], rng)]
    sentinel = [0.1 * rng.lognormvariate(0, 0.02) for _ in range(ROUNDS)]
    values.append(value(model, "", "sentinel_s", sentinel))
    values.append(value(model, "", "download_s", [12.4]))
    kept = [item for item in values if (item.method, item.metric) != ("container", "packed_bytes")]
    why = "the registry <script>alert('x')</script> | did not answer"
    kept.insert(0, value(model, "container", "packed_bytes", [], why_absent=why, failed=1, fidelity="emulated"))
    return Evidence(run_id=RUN, model=model, manifest=manifest(), values=tuple(kept))


def spam() -> Evidence:
    """A model that one method cannot package, for a reason with everything hostile in it."""
    rng = random.Random(11)
    model = "spam-bayes"
    values = [item for name in METHODS if name != "rest-api" for item in _method_values(model, name, _SPAM[name], rng)]
    why = "exit 137: \x1b[31m<script>alert(1)</script> --> | `*_[x](javascript:1)_*`\nsecond line"
    values.append(value(model, "rest-api", "parity", [], why_absent=why, failed=3))
    return Evidence(run_id=RUN, model=model, manifest=manifest(), values=tuple(values))


@pytest.fixture(scope="session")
def evidences() -> tuple[Evidence, ...]:
    """The made-up run: both models."""
    return digits(), spam()


assert set(METRICS) >= {"sentinel_s", "download_s", "parity"}  # the names used above
