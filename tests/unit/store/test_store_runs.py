"""A run on disk: what is written is read back, and being killed at any point damages nothing."""

from __future__ import annotations

import dataclasses
import errno
import gc
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BadInput, CheckFailure, DiskFull, HarnessError, printable
from harness.measure.sample import LEAST
from harness.spec.kinds import MOST
from harness.store import query, runs


def lines(folder: Path) -> list[bytes]:
    """The lines of the samples."""
    return (folder / "samples.jsonl").read_bytes().splitlines(keepends=True)


def test_what_is_recorded_is_read_back(made: Any) -> None:
    """Samples in the order taken, with every field; the manifest as it was."""
    samples = [
        made.sample(),
        made.sample("parity", None, flags=("failed",), note="it broke:\n  'quoted' \U0001f600"),
        made.sample("cold_start_s", 0.1 + 0.2, state="disk-cold", round=3, flags=("dropped:x", "outlier")),
    ]
    folder = made.write(samples)
    assert runs.read_samples(folder) == samples
    assert dataclasses.asdict(runs.read_manifest(folder)) == json.loads((folder / "run.json").read_text())
    assert runs.read_manifest(folder).run_id == made.RUN
    assert runs.run_ids(made.results) == [made.RUN]
    assert runs.folder_of(made.results, made.RUN) == folder


@settings(max_examples=20)
@given(value=st.floats(), note=st.text())
def test_every_value_survives(made: Any, tmp_path_factory: pytest.TempPathFactory, value: float, note: str) -> None:
    """Any number that can be measured comes back bit by bit, any other as a failure; any text as it can be shown."""
    made.results = tmp_path_factory.mktemp("r")
    sample = made.sample(value=value, note=note)
    (found,) = runs.read_samples(made.write([sample], compact=False))
    if 0 <= value <= MOST:
        assert found == dataclasses.replace(sample, value=value if value >= LEAST else 0.0, note=printable(note))
    else:
        assert (found.value, found.flags) == (None, ("failed",))
        assert found.note == f"its value was {value!r}, which is not possible. {printable(note)}"


def test_what_is_no_sample_is_not_recorded(made: Any) -> None:
    """A metric that is not declared is refused, and so is a name that could be markup; the step stays out whole."""
    with runs.create(made.results, made.manifest()) as writer:
        writer.record([made.sample()])
        with pytest.raises(ValueError, match="'speed': is not a metric"):
            writer.record([made.sample(), dataclasses.replace(made.sample(), metric="speed")])
        with pytest.raises(ValueError, match=r"cell\.method"):
            writer.record([made.sample(), made.sample(method="<b>")])
    assert len(runs.read_samples(writer.folder)) == 1


class FullDisk(io.FileIO):
    """A file on a disk with room for ``left`` bytes more."""

    left = 0

    def write(self, data: Any) -> int:
        """As far as there is room."""
        if self.left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device", self.name)
        written = super().write(bytes(data)[: self.left])
        self.left -= written
        return written


def on_full_disk(writer: runs.RunWriter, left: int) -> FullDisk:
    """Have the writer's file be on a disk with so much room."""
    writer._samples.close()
    raw = FullDisk(writer.folder / "samples.jsonl", "ab")
    raw.left = left
    writer._samples = raw
    return raw


@pytest.mark.parametrize("count", [2, 200])
@pytest.mark.parametrize("room_again", [True, False])
@pytest.mark.parametrize("left", [0, 100])
def test_a_step_is_on_disk_whole_or_not_at_all(made: Any, left: int, room_again: bool, count: int) -> None:
    """When the disk fills up in the middle of a step nothing of it stays, not even once there is room again."""
    step = [made.sample(round=number) for number in range(count)]
    folder = made.write([made.sample("parity", 1.0)], compact=False)
    before = lines(folder)

    def record() -> None:
        with runs.resume(made.results, made.RUN) as writer:
            disk = on_full_disk(writer, left)
            try:
                writer.record(step)
            finally:
                disk.left = 10**9 if room_again else 0

    with pytest.raises(DiskFull, match="is full"):
        record()
    assert lines(folder) == before
    with runs.resume(made.results, made.RUN) as writer:
        writer.record(step)
    assert len(runs.read_samples(folder)) == 1 + count


def test_a_manifest_is_replaced_whole(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fills up, the old one is still there."""
    with runs.create(made.results, made.manifest()) as writer:
        before = (writer.folder / "run.json").read_bytes()
        writer.update(finished_at="2026-01-02")
        assert writer.noted("host") == made.manifest().host
        assert runs.read_manifest(writer.folder).finished_at == "2026-01-02"

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        before = (writer.folder / "run.json").read_bytes()
        with pytest.raises(DiskFull):
            writer.update(finished_at="2026-01-03")
        assert (writer.folder / "run.json").read_bytes() == before


def torn(folder: Path, *, keep: int) -> None:
    """Cut the last line after ``keep`` bytes, as a kill does."""
    whole = lines(folder)
    (folder / "samples.jsonl").write_bytes(b"".join(whole[:-1]) + whole[-1][:keep])


@pytest.mark.parametrize("keep", [1, 40, -2])
def test_a_torn_last_line_counts_for_nothing(made: Any, keep: int) -> None:
    """Readers leave it out, queries too; whoever resumes cuts it off."""
    folder = made.write([made.sample("parity", 1.0), made.sample(value=2.0), made.sample(value=99.0)], compact=False)
    torn(folder, keep=keep)
    assert [sample.value for sample in runs.read_samples(folder)] == [1.0, 2.0]
    assert [value.interval.median for value in query.values(folder)] == [2.0, 1.0]
    with runs.resume(made.results, made.RUN) as writer:
        writer.record([made.sample(value=3.0)])
    assert [sample.value for sample in runs.read_samples(folder)] == [1.0, 2.0, 3.0]


def test_a_last_line_that_only_lacks_its_end_counts_for_nothing(made: Any) -> None:
    """Readers and queries agree on it, whatever was cut off."""
    folder = made.write([made.sample(value=2.0), made.sample("parity", 99.0)], compact=False)
    torn(folder, keep=-1)
    assert [sample.value for sample in runs.read_samples(folder)] == [2.0]
    assert [value.metric for value in query.values(folder)] == ["install_s"]


DAMAGED = {
    "not JSON": b"{rubbish\n",
    "zeros": b"\0" * 50 + b"\n",
    "not UTF-8": b'{"note": "\xff"}\n',
    "empty": b"\n",
    "a list": b"[1, 2]\n",
    "a number": b"12\n",
    "a text": b'"text"\n',
    "nothing": b"null\n",
    "another object": b'{"a": 1}\n',
    "another cell": b'{"cell": 5}\n',
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damage_in_the_middle_is_named_by_its_line(made: Any, what: str) -> None:
    """A line that is not a sample is a check that fails, with the line's number."""
    folder = made.write([made.sample(round=number) for number in range(4)], compact=False)
    whole = lines(folder)
    (folder / "samples.jsonl").write_bytes(b"".join([*whole[:2], DAMAGED[what], *whole[3:]]))
    with pytest.raises(CheckFailure, match=r"samples\.jsonl, line 3 is not a sample") as raised:
        runs.read_samples(folder)
    assert "backup" in raised.value.remedy


@pytest.mark.parametrize("what", ["not JSON", "zeros"])
@pytest.mark.parametrize("also_torn", [False, True])
def test_queries_do_not_pass_over_damage(made: Any, what: str, also_torn: bool) -> None:
    """A damaged line is an error, also where the last line was cut off besides."""
    folder = made.write([made.sample(round=number) for number in range(4)], compact=False)
    whole = lines(folder)
    last = whole[-1][:20] if also_torn else whole[-1]
    (folder / "samples.jsonl").write_bytes(b"".join([whole[0], DAMAGED[what], whole[2], last]))
    with pytest.raises(CheckFailure, match="line 2 is not a sample"):
        query.values(folder)


def test_a_newer_run_is_refused(made: Any) -> None:
    """What a later harness wrote may mean something else."""
    folder = made.write()
    table = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**table, "schema_version": runs.SCHEMA_VERSION + 1}))
    with pytest.raises(BadInput) as raised:
        runs.read_manifest(folder)
    text = str(raised.value)
    for part in ("run.json", f"key 'schema_version' = {runs.SCHEMA_VERSION + 1}", "newer", "upgrade the harness"):
        assert part in text


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"schema_version": "1"}', '{"schema_version": 1}', "\xff"])
def test_a_damaged_manifest_is_bad_input(made: Any, text: str) -> None:
    """Whatever is wrong with run.json, it is named."""
    folder = made.write()
    (folder / "run.json").write_text(text, encoding="latin-1")
    with pytest.raises(BadInput, match=r"run\.json"):
        runs.read_manifest(folder)


def test_a_plan_that_lacks_its_models_is_bad_input(made: Any) -> None:
    """A manifest without what every query needs is named, not stumbled over."""
    made.write(plan={})
    with pytest.raises(HarnessError):
        query.evidences(made.results, made.RUN)


def test_fields_of_a_later_harness_are_passed_over(made: Any) -> None:
    """A field more, at the same schema version, does no harm."""
    folder = made.write()
    table = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**table, "colour": "blue"}))
    assert runs.read_manifest(folder).run_id == made.RUN


@pytest.mark.parametrize("run_id", ["none", "", ".", "..", "../runs", "a/b"])
def test_an_unknown_run_names_those_there_are(made: Any, run_id: str) -> None:
    """No name leads out of the folder of runs."""
    made.write()
    with pytest.raises(BadInput) as raised:
        runs.folder_of(made.results, run_id)
    assert raised.value.exit_code == 2
    assert made.RUN in raised.value.remedy or "harness runs" in raised.value.remedy


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_run_has_one_writer(made: Any) -> None:
    """The second is refused while the first is there, and let in afterwards."""
    with runs.create(made.results, made.manifest()):
        with pytest.raises(BadInput, match="is being written by another harness") as raised:
            with runs.resume(made.results, made.RUN):
                pass
        assert raised.value.remedy
        del raised
    gc.collect()
    with runs.resume(made.results, made.RUN) as writer:
        writer.record([made.sample()])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_refused_writer_lets_go_of_its_file(made: Any) -> None:
    """Nothing is left open by a writer that did not come to be."""
    before = len(os.listdir("/proc/self/fd"))
    with runs.create(made.results, made.manifest()):
        errors = []
        for _ in range(3):
            try:
                with runs.resume(made.results, made.RUN):
                    pass
            except BadInput as error:
                errors.append(error)
        assert len(errors) == 3
        opened = len(os.listdir("/proc/self/fd"))
    errors.clear()
    gc.collect()
    assert opened == before + 1


@pytest.mark.parametrize("what", ["pipe", "link"])
def test_a_run_is_not_gone_on_with_through_a_pipe_or_link(made: Any, tmp_path: Path, what: str) -> None:
    """Nothing waits, and nothing outside of the run is written to."""
    folder = made.write(compact=False)
    (folder / "samples.jsonl").unlink()
    outside = tmp_path / "outside"
    outside.write_text("as it was")
    (folder / "run.json.part").symlink_to(outside)
    with runs.resume(made.results, made.RUN) as writer:
        writer.update(tools={"uv": "1"})
    if what == "pipe":
        (folder / "samples.jsonl").unlink()
        os.mkfifo(folder / "samples.jsonl")
    else:
        (folder / "samples.jsonl").unlink()
        (folder / "samples.jsonl").symlink_to(outside)
    with pytest.raises(BadInput, match="not a file"), runs.resume(made.results, made.RUN):
        pass
    assert outside.read_text() == "as it was"


def test_half_a_manifest_does_not_outlive_the_harness(
    made: Any, watchdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog knows of the file while it is written, and has nothing to remove afterwards."""
    folder = made.write(compact=False)
    known: list[Any] = []
    monkeypatch.setattr(os, "fsync", lambda _: known.extend(watchdog.left.values()))
    runs.write_manifest(folder, runs.read_manifest(folder))
    assert {"file": str(folder / "run.json.part")} in known
    assert {"file": str(folder / "run.json.part")} not in watchdog.left.values()
