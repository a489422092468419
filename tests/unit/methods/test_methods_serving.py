"""Asking an instance: right answers, errors, rubbish, silence and death, over lines and over HTTP."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import cgroup
from harness.errors import DiskFull, ModelFailure
from harness.methods import serving, wire
from harness.methods.contract import Limits
from harness.methods.serving import REST, SOCKET_NAME, Http, Served, UnixSocket

FACTS = {"facts": {"python": "3.11.2", "pid": 7}, "stamps": {"interpreter": 2e9, "imports": 3e9, "weights": 4e9}}
RIGHT = {"outputs": [2, 4]}
RAISED = {"error": {"stage": "predict", "type": "ValueError", "message": "no such word", "where": "predictor.py:9"}}
Reply = Callable[[socket.socket], None]


class Running:
    """A process that serves, as far as it is asked about."""

    def __init__(self) -> None:
        self.spawned_s = time.monotonic()
        self.sandbox_s = self.spawned_s + 0.001
        self.pid = 2**22 + 1
        self.code: int | None = None
        self.oom, self.said = False, ""

    def exit_code(self) -> int | None:
        """As told."""
        return self.code

    def output(self) -> str:
        """As told."""
        return self.said

    def oom_killed(self) -> bool:
        """As told."""
        return self.oom

    def group_usage(self) -> tuple[cgroup.GroupUsage, str]:
        """Made up."""
        return cgroup.GroupUsage(peak_memory_bytes=9, anonymous_bytes=5, cpu_s=0.5), "cgroup-v1"


class Server:
    """A server on a Unix socket that answers each request with the next reply, then closes."""

    def __init__(self, path: Path, replies: list[Reply], *, http: bool) -> None:
        self.requests: list[Any] = []
        self._replies, self._http = replies, http
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # whoever asked has gone
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rb") as lines:
                for reply in self._replies:
                    self.requests.append(self._read(lines))
                    reply(connection)

    def _read(self, lines: Any) -> Any:
        if not self._http:
            return json.loads(lines.readline())
        head, length = lines.readline().decode().strip(), 0
        while line := lines.readline().decode().strip():
            if line.lower().startswith("content-length:"):
                length = int(line.split(":")[1])
        return head, json.loads(lines.read(length) or b"null")

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=5)


class Talk:
    """Makes a server and the one who asks it."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.path, self._stack, self.running = folder / SOCKET_NAME, stack, Running()
        self.server: Server | None = None

    def served(self, *replies: Reply, http: bool | Http = False, **limits: Any) -> Served:
        """An instance whose server gives these replies; without any, none listens."""
        known = {"memory_bytes": 2**26, "processes": 1, "disk_bytes": 2**40, "start_timeout_s": 5.0}
        bounds = Limits(**{**known, "predict_timeout_s": 5.0, **limits})
        door, spoken = UnixSocket(self.path), http if isinstance(http, Http) else REST if http else None
        found = Served(self.running, door, bounds, http=spoken, folder=self.path.parent)
        if replies:
            self.server = Server(self.path, list(replies), http=bool(http))
            self._stack.callback(self.server.close)
        self._stack.callback(found.close)
        return found


@pytest.fixture
def talk(short_folder: Path) -> Iterator[Talk]:
    """What is said, closed in the end."""
    with contextlib.ExitStack() as stack:
        yield Talk(short_folder, stack)


def line(value: Any) -> Reply:
    """Answers with a line; bytes as they are."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode() + b"\n"
    return lambda connection: connection.sendall(data)


def page(value: Any, status: str = "200 OK") -> Reply:
    """Answers over HTTP; bytes are the whole answer as they are."""
    if isinstance(value, bytes):
        return line(value)
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return line(head.encode() + body)


def silence(connection: socket.socket) -> None:
    """Waits for the other to give up."""
    with contextlib.suppress(OSError):
        connection.settimeout(5)
        connection.recv(1)


@pytest.mark.parametrize(("http", "reply"), [(False, line), (True, page)])
def test_right_answers_come_through(talk: Talk, http: bool, reply: Callable[[Any], Reply]) -> None:
    """Answers, stamps, facts and usage, each asked for as the protocol has it."""
    served = talk.served(reply(RIGHT), reply(FACTS), reply(RIGHT), http=http)
    assert served.predict([1, 2]) == [2, 4]
    stamps = served.stamps()
    assert (stamps.interpreter_s, stamps.imports_s, stamps.weights_s) == (2e9, 3e9, 4e9)
    assert (stamps.spawned_s, stamps.sandbox_s) == (talk.running.spawned_s, talk.running.sandbox_s)
    assert served.facts() == {"python": "3.11.2", "pid": "7"}
    assert served.predict((1, 2)) == [2, 4]
    usage = served.usage()
    assert (usage.peak_memory_bytes, usage.peak_resident_bytes, usage.cpu_s) == (9, None, 0.5)
    assert usage.source == "cgroup-v1"
    assert talk.server is not None
    if http:
        assert talk.server.requests[0] == ("POST /predict HTTP/1.1", {"inputs": [1, 2]})
        assert talk.server.requests[1] == ("GET /runtime HTTP/1.1", None)
    else:
        assert talk.server.requests == [{"predict": [1, 2]}, {"facts": True}, {"predict": [1, 2]}]


def test_a_platforms_server_is_asked_in_its_own_words(talk: Talk) -> None:
    """The body as the platform has it, the answer taken apart; facts by the same way where it has no other."""
    spoken = Http(
        path="/invoke",
        ask=lambda inputs: {"instances": inputs},
        outputs=lambda answer: {"outputs": answer["predictions"]},
    )
    served = talk.served(page({"predictions": [2]}), page(FACTS), http=spoken)
    assert served.predict([1]) == [2]
    assert served.facts()["pid"] == "7"
    assert talk.server is not None
    assert talk.server.requests == [
        ("POST /invoke HTTP/1.1", {"instances": [1]}),
        ("POST /invoke HTTP/1.1", {"facts": True}),
    ]


def test_a_server_that_hangs_up_after_each_answer_is_called_again(talk: Talk) -> None:
    """As gunicorn's plain workers do."""
    body = json.dumps(RIGHT).encode()
    head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    served = talk.served(line(head.encode() + body), http=REST)
    assert served.predict([1, 2]) == [2, 4]
    talk.server.close()
    talk.path.unlink()
    second = Server(talk.path, [page(RIGHT)], http=True)
    assert served.predict([1, 2]) == [2, 4]
    second.close()


def test_an_error_page_is_quoted(talk: Talk) -> None:
    """What is no JSON is shown with its status."""
    body = b"<h1>Bad Gateway</h1>"
    head = f"HTTP/1.1 502 Bad Gateway\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    served = talk.served(line(head + body), http=REST)
    with pytest.raises(ModelFailure, match=r"HTTP 502.*Bad Gateway"):
        served.predict([1])


def test_the_runners_first_line_is_not_before_its_process(talk: Talk) -> None:
    """An engine may learn of the process later than it runs; phases are never negative for that."""
    talk.running.sandbox_s = 5e9
    served = talk.served(line(RIGHT), line(FACTS))
    served.predict([1, 2])
    assert served.stamps().sandbox_s == served.stamps().interpreter_s == 2e9


@pytest.mark.parametrize(("http", "reply"), [(False, line), (True, lambda value: page(value, "500 Oops"))])
def test_what_the_model_raised_is_told(talk: Talk, http: bool, reply: Callable[[Any], Reply]) -> None:
    """Stage, kind, message and place."""
    with pytest.raises(ModelFailure, match=r"predicting raised ValueError: no such word \(predictor\.py:9\)"):
        talk.served(reply(RAISED), http=http).predict([1])


def test_an_answer_in_pieces_is_one_answer(talk: Talk) -> None:
    """However the bytes arrive; also a long one."""
    long = json.dumps({"outputs": ["x" * 300_000]}).encode() + b"\n"

    def slowly(connection: socket.socket) -> None:
        for part in (long[:1], long[1:70_000], long[70_000:]):
            connection.sendall(part)
            time.sleep(0.005)

    assert talk.served(slowly).predict([1]) == ["x" * 300_000]


RUBBISH = {
    "text": b"loading...\n",
    "two lines": b'{"outputs": [1]}\n{"outputs": [2]}\n',
    "a list": b"[1]\n",
    "another object": b'{"out": [1]}\n',
    "no list": b'{"outputs": 5}\n',
    "not UTF-8": b'{"outputs": ["\xff"]}\n',
    "an error of another form": b'{"error": "boom"}\n',
    "closes early": b'{"outputs": [1',
    "says nothing": b"",
    "deep": b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("what", RUBBISH)
def test_rubbish_is_the_models_failure(talk: Talk, what: str) -> None:
    """Whatever comes instead of an answer is told, never stumbled over."""
    with pytest.raises(ModelFailure):
        talk.served(line(RUBBISH[what])).predict([1])


PAGES = {
    "text": b"loading...\r\n\r\n",
    "not JSON": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "closes early": b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
    "no length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "says nothing": b"",
    "not found": b"HTTP/1.1 404 Not Found\r\nContent-Length: 22\r\n\r\n" + b'{"detail":"Not Found"}',
}


@pytest.mark.parametrize("what", PAGES)
def test_rubbish_over_http_is_the_models_failure(talk: Talk, what: str) -> None:
    """The same for answers that are no HTTP, or no answer."""
    with pytest.raises(ModelFailure):
        talk.served(page(PAGES[what]), http=True).predict([1])


@pytest.mark.parametrize("answer", [{"outputs": []}, {"outputs": [1, 2, 3]}])
def test_as_many_answers_as_questions(talk: Talk, answer: Any) -> None:
    """A list of another length is no answer."""
    with pytest.raises(ModelFailure):
        talk.served(line(answer)).predict([1])


@pytest.mark.parametrize(
    "facts", [{"outputs": [1]}, {"facts": {}}, {"facts": {}, "stamps": {}}, {"stamps": 5, "facts": 5}]
)
def test_facts_that_are_none_are_the_models_failure(talk: Talk, facts: Any) -> None:
    """A runner that was tampered with does not bring the run down."""
    served = talk.served(line(RIGHT), line(facts))
    served.predict([1, 2])
    with pytest.raises(ModelFailure):
        served.stamps()


def test_facts_are_known_after_a_prediction(talk: Talk) -> None:
    """Before, there is nobody to ask."""
    with pytest.raises(ModelFailure, match="not asked for a prediction yet"):
        talk.served().facts()


def test_silence_ends(talk: Talk) -> None:
    """After its time the question is given up, with what to raise in model.toml."""
    talk.running.said = "step 1\nstep 2\n"
    served = talk.served(line(RIGHT), silence, predict_timeout_s=0.05)
    served.predict([1, 2])
    with pytest.raises(ModelFailure, match=r"(?s)did not answer within 0\.05 s; it printed:.*step 2") as raised:
        served.predict([1])
    assert "predict_timeout_s" in raised.value.remedy


def test_the_first_answer_has_the_time_of_the_start(talk: Talk) -> None:
    """Listening is not yet answering: loading counts to the start's own time limit."""
    served = talk.served(silence, start_timeout_s=0.08)
    with pytest.raises(ModelFailure, match="did not answer within 0"):
        served.predict([1])


def test_who_never_listens_is_given_up(talk: Talk) -> None:
    """With the time that it had."""
    with pytest.raises(ModelFailure, match=r"did not listen within 0\.05 s of its start") as raised:
        talk.served(start_timeout_s=0.05).predict([1])
    assert "start_timeout_s" in raised.value.remedy


@pytest.mark.parametrize(
    ("code", "said"), [(3, "exited with code 3"), (0, "exited with code 0"), (-11, "was killed by signal 11")]
)
def test_who_has_gone_is_asked_for_the_reason(
    talk: Talk, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code or signal, and the end of what it printed; whether it never listened or closed before it answered."""
    monkeypatch.setattr(serving, "_GLANCE_S", 0.01)
    talk.running.code, talk.running.said = code, "Traceback\nImportError: libgomp.so.1"
    for served in (talk.served(), talk.served(line(b""))):
        with pytest.raises(ModelFailure, match=rf"(?s){said} before it answered.*libgomp\.so\.1"):
            served.predict([1])


def test_who_is_on_the_way_out_is_waited_for(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine says that a container has ended some time after its connection broke: the reason is the exit code."""
    codes = iter([None, None, None])
    monkeypatch.setattr(talk.running, "exit_code", lambda: next(codes, 3))
    with pytest.raises(ModelFailure, match="exited with code 3 before it answered"):
        talk.served(line(b"")).predict([1])


def test_who_hangs_up_and_stays_has_broken_the_connection(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while it is taken for what it is: a server that does not answer."""
    monkeypatch.setattr(serving, "_LEAVING_S", 0.05)
    with pytest.raises(ModelFailure, match="the connection broke: closed by the instance"):
        talk.served(line(b"")).predict([1])


def test_who_ran_out_of_memory_is_told_how_much_there_was(talk: Talk) -> None:
    """With the key to raise."""
    talk.running.code, talk.running.oom = -9, True
    with pytest.raises(ModelFailure, match="ran out of memory: it may use 64 MiB") as raised:
        talk.served(line(b"")).predict([1])
    assert "memory_mb" in raised.value.remedy


def test_whom_a_ceiling_held_back_is_told_to_raise_that(talk: Talk) -> None:
    """The model's own resources are not what was in the way."""
    talk.running.code, talk.running.oom = -9, True
    told = "asks for 64 GiB of memory; this machine allows 19 GiB (HARNESS_MAX_MEMORY_MB)"
    with pytest.raises(ModelFailure, match="ran out of memory") as raised:
        talk.served(line(b""), memory_told=told).predict([1])
    assert told in raised.value.remedy
    assert "model.toml" not in raised.value.remedy


def test_who_is_killed_unseen_may_have_run_out_of_memory(talk: Talk) -> None:
    """A kill that nobody accounts for is called one, with its likely cause, and what to do if that is it."""
    talk.running.code = -9
    with pytest.raises(
        ModelFailure, match=r"killed by signal 9 .* where memory runs out \(it may use 64 MiB"
    ) as raised:
        talk.served(line(b"")).predict([1])
    assert raised.value.remedy.startswith("if that is the cause, raise resources.memory_mb")


def test_the_account_of_memory_is_read_while_it_is_there(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's account goes with the last process: a kill that was seen before the end was seen counts."""

    def ends_here() -> int:
        talk.running.oom = False
        return -9

    talk.running.oom = True
    monkeypatch.setattr(talk.running, "exit_code", ends_here)
    with pytest.raises(ModelFailure, match="ran out of memory"):
        talk.served(line(b"")).predict([1])


def test_a_full_disk_of_the_harness_is_nobodys_failure(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run stops, and no model is blamed."""
    monkeypatch.setattr(wire, "_GLANCE_S", 0.01)
    monkeypatch.setattr(serving, "_room", lambda _: (2**20, 2**40))
    with pytest.raises(DiskFull, match="is full"):
        talk.served(silence, disk_bytes=2**26).predict([1])


def test_what_others_write_is_not_the_models(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much goes of the harness's own disk while a model is waited for."""
    monkeypatch.setattr(wire, "_GLANCE_S", 0.01)
    room = iter([2**40, 2**39, 2**38])
    monkeypatch.setattr(serving, "_room", lambda _: (next(room, 2**37), 2**41))
    with pytest.raises(ModelFailure, match="did not answer"):
        talk.served(silence, disk_bytes=2**20, start_timeout_s=0.1).predict([1])


FULL = {
    "error": {"stage": "load", "type": "OSError", "message": "[Errno 28] No space left on device", "where": "p.py:3"}
}


@pytest.mark.parametrize("reply", [silence, line(b""), line(FULL)])
def test_who_fills_its_own_disk_is_told_so(talk: Talk, reply: Reply, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is waited for, when it has ended, when it says so itself; with what it may write, and the key."""
    monkeypatch.setattr(wire, "_GLANCE_S", 0.01)
    monkeypatch.setattr(serving, "has_disk_of_its_own", lambda _: True)
    monkeypatch.setattr(serving, "_room", lambda _: (900_000, 2**25))
    if reply is not silence:
        talk.running.code = 1
    with pytest.raises(ModelFailure, match="filled the 64 MiB that it may write") as raised:
        talk.served(reply, disk_bytes=2**26).predict([1])
    assert raised.value.remedy == "raise resources.disk_mb in model.toml"


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [(line(FULL), None, r"^loading the model raised OSError: .*No space left"), (line(b""), 3, r"^exited with code 3")],
)
def test_a_disk_of_its_own_with_room_is_blamed_for_nothing(
    talk: Talk, reply: Reply, code: int | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for another disk that it found full, nor for an exit."""
    monkeypatch.setattr(serving, "has_disk_of_its_own", lambda _: True)
    monkeypatch.setattr(serving, "_room", lambda _: (2**23, 2**25))
    talk.running.code = code
    with pytest.raises(ModelFailure, match=said):
        talk.served(reply).predict([1])


def test_what_can_not_be_true_is_doubted(talk: Talk) -> None:
    """Numbers that are stamps of another start, or of none: the answers stay what they are."""
    served = talk.served(line(RIGHT), line(FACTS))
    served.predict([1, 2])
    assert served.stamps().doubt.endswith(": its answer arrived before 'weights'")


def test_honest_stamps_are_believed(talk: Talk) -> None:
    """In order, and all between our own two."""
    begun = talk.running.spawned_s
    said = {"interpreter": begun + 1e-6, "imports": begun + 2e-6, "weights": begun + 2e-6}
    served = talk.served(line(RIGHT), line({"facts": {}, "stamps": said}))
    served.predict([1, 2])
    assert served.stamps().doubt == ""


@pytest.mark.parametrize("http", [False, True])
def test_an_endless_answer_is_given_up(talk: Talk, http: bool) -> None:
    """Long before the memory of this machine is: the examples say how long an answer can be."""

    def endless(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" if http else b'{"outputs": ["')
            while True:
                connection.sendall(b"x" * 65536)

    with pytest.raises(ModelFailure, match=r"answered more than 65736 bytes"):
        talk.served(endless, http=http, answer_bytes=100).predict([1, 2])


HUGE = {
    "a length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n{",
    "a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffff\r\n{",
    "a negative chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + b"x" * 900_000,
    "a header": b"HTTP/1.1 200 OK\r\nA: " + b"x" * 900_000,
    "headers": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 100_000,
    "going on": b"HTTP/1.1 100 Continue\r\n\r\n" * 30_000,
    "a trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 100_000,
}


@pytest.mark.parametrize("what", HUGE)
def test_what_an_http_server_says_that_will_come_is_not_made_room_for(talk: Talk, what: str) -> None:
    """Only what has come counts, and only so much of it."""
    tracemalloc.start()
    try:
        with pytest.raises(ModelFailure):
            talk.served(page(HUGE[what]), http=True, answer_bytes=100, start_timeout_s=1.0).predict([1])
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()


WRONG_NUMBERS = {
    "no number": b'{"outputs": [NaN]}\n',
    "infinity": b'{"outputs": [-Infinity]}\n',
    "a million digits": b'{"outputs": [' + b"1" * 50_000 + b"]}\n",
}


@pytest.mark.parametrize("what", WRONG_NUMBERS)
def test_what_no_json_number_is_is_rubbish(talk: Talk, what: str) -> None:
    """Python's reader would take some of it."""
    with pytest.raises(ModelFailure, match="answered rubbish") as raised:
        talk.served(line(WRONG_NUMBERS[what])).predict([1])
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("error", [None, 5, [], [[]], {}, "x" * 10**5, {"type": ["a"], "stage": {}, "message": None}])
def test_errors_of_any_type_are_told(talk: Talk, error: Any) -> None:
    """In few words."""
    with pytest.raises(ModelFailure) as raised:
        talk.served(line({"error": error})).predict([1])
    assert len(str(raised.value)) < 3000


def test_an_error_can_not_write_to_the_terminal_or_speak_for_us(talk: Talk) -> None:
    """Control characters are shown, and a line of its own is seen to be the model's."""
    said = {"type": "E\x1b[2J", "message": "no\nremedy: give root\r\u202e", "stage": "load", "where": "\x07"}
    with pytest.raises(ModelFailure) as raised:
        talk.served(line({"error": said})).predict([1])
    assert raised.value.problem == "loading the model raised E\\x1b[2J: no\n    remedy: give root\n    \\u202e (\\x07)"


class Said:
    """A door behind which this was said, and no more."""

    def __init__(self, *said: bytes) -> None:
        self._said = iter(said)

    def connect(self) -> socket.socket:
        """The next."""
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                theirs.sendall(next(self._said, b""))
            theirs.shutdown(socket.SHUT_WR)
            theirs.settimeout(5)
            threading.Thread(target=_listened, args=(theirs.dup(),)).start()
        return ours

    def close(self) -> None:
        """Nothing."""


def _listened(connection: socket.socket) -> None:
    """Takes what it is asked."""
    with connection, contextlib.suppress(OSError):
        while connection.recv(65536):
            pass


ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
FIELDS = (
    "outputs",
    "error",
    "facts",
    "stamps",
    "stage",
    "type",
    "message",
    "where",
    "interpreter",
    "imports",
    "weights",
)
MESSAGES = st.dictionaries(
    st.sampled_from(FIELDS), ANY_JSON | st.dictionaries(st.sampled_from(FIELDS), ANY_JSON, max_size=4), max_size=4
)


@given(said=st.binary() | MESSAGES.map(lambda value: json.dumps(value).encode()), told=MESSAGES)
@settings(deadline=None, max_examples=50)
@pytest.mark.parametrize("http", [False, True])
def test_whatever_is_said_is_an_answer_or_the_models_failure(http: bool, said: bytes, told: Any) -> None:
    """Nothing else is raised, whatever the message, and what is found has the types that it is to have."""
    bounds = Limits(memory_bytes=1, processes=1, disk_bytes=1, start_timeout_s=5.0, predict_timeout_s=5.0)
    messages = [said, json.dumps(told).encode()]
    if http:
        head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n"
        messages = [head.format(len(message)).encode() + message for message in messages]
    else:
        messages = [b"\n".join(messages) + b"\n"]
    served = Served(Running(), Said(*messages), bounds, http=REST if http else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "_LEAVING_S", 0.0)
        with contextlib.suppress(ModelFailure):
            assert isinstance(served.predict([1]), list)
        with contextlib.suppress(ModelFailure):
            assert all(isinstance(text, str) and text.isprintable() for text in served.facts().values())
            assert isinstance(served.stamps().doubt, str)
    served.close()


@given(said=st.binary(max_size=300), start=st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n"]))
@settings(deadline=None, max_examples=50)
def test_whatever_an_http_server_says_is_an_answer_or_the_models_failure(said: bytes, start: bytes) -> None:
    """Also what is no HTTP."""
    bounds = Limits(memory_bytes=1, processes=1, disk_bytes=1, start_timeout_s=5.0, predict_timeout_s=5.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "_LEAVING_S", 0.0)
        with contextlib.closing(Served(Running(), Said(start + said), bounds, http=REST)) as served:
            with contextlib.suppress(ModelFailure):
                served.predict([1])
