"""An AWS account to make things in: the stand-in on loopback, or the user's own where the user asked for it.

Everything that is made is first noted in a ledger on the disk, carries the run's tag, has a name with the run's
random number in it, and is deleted at the end, also after failures. What could not be deleted is said, and a
killed harness's ledger tells the next one (``harness aws leftovers``) what to look for.

The same code serves both. It was tested against the stand-in with faults injected; never against AWS itself.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from harness import paths, process
from harness.errors import BadInput, BuildFailure, CheckFailure, HarnessError, MissingComponent
from harness.platforms.aws_kinds import KINDS, PREFIX, TAG, absent

log = logging.getLogger(__name__)

AccountKind = Literal["moto", "real"]

#: What became of a thing: it was asked for (and may be there), it is there, it is gone, somebody else's has its name.
State = Literal["asked", "made", "gone", "not ours"]

#: Seconds to wait before each further attempt at deleting what is left.
PAUSES_S = (0.0, 1.0, 3.0, 10.0, 45.0)

_REGION_OF_MOTO = "us-east-1"
_NAME_LENGTH = 63  # of a bucket, the shortest of the limits


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the ledger: a thing that may be there because we asked for it."""

    kind: str
    name: str
    state: State
    at: str


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """A thing that is still there, the run that made it, and why it could not be deleted, if that was tried."""

    run: str
    kind: str
    name: str
    region: str
    why: str = ""

    def __str__(self) -> str:
        return f"{KINDS[self.kind].title} {self.name} in {self.region}" + (f" ({self.why})" if self.why else "")


# --- the ledger ----------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Ledger:
    """What a run asked for, on the disk before it is asked for.

    ``account`` is AWS's number of the account: another one's things are never touched.
    """

    file: Path
    run: str
    account: str
    region: str
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)

    def note(self, kind: str, name: str, state: State) -> None:
        """Write it down before anything else happens; DiskFull where that can't be done."""
        self.entries[kind, name] = Entry(kind=kind, name=name, state=state, at=_now())
        table = {
            "run": self.run,
            "account": self.account,
            "region": self.region,
            "entries": [asdict(entry) for entry in self.entries.values()],
        }
        with process.disk_full_named(self.file):
            part = self.file.with_suffix(".part")
            with part.open("w", encoding="utf-8") as written:
                json.dump(table, written, indent=1)
                written.flush()
                os.fsync(written.fileno())
            part.replace(self.file)

    def open_entries(self) -> list[Entry]:
        """What may still be there, the newest first: what was made last may hold on to what was made before."""
        return [entry for entry in reversed(self.entries.values()) if entry.state in ("asked", "made")]

    @classmethod
    def read(cls, file: Path) -> Ledger:
        """The ledger in ``file``; BadInput where it is damaged."""
        try:
            table = json.loads(file.read_text(encoding="utf-8"))
            found = [Entry(**entry) for entry in table["entries"]]
            made = cls(file=file, run=table["run"], account=table["account"], region=table["region"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BadInput(
                f"is not a ledger that can be read: {error}",
                file=file,
                remedy=f"look in the account for names that begin with {PREFIX}, then delete the file",
            ) from error
        made.entries = {(entry.kind, entry.name): entry for entry in found}
        return made


def ledgers() -> list[Ledger]:
    """The ledgers that runs left, without those that a living harness holds."""
    found = []
    for file in sorted(_folder().glob("*.json")) if _folder().is_dir() else ():
        with _held(file, wait=False) as ours:
            if ours:
                found.append(Ledger.read(file))
    return found


def _folder() -> Path:
    return paths.cache() / "aws"


@contextmanager
def _held(file: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a ledger as its living owner; False where another harness does and is not waited for."""
    with file.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


# --- the account ---------------------------------------------------------------------------------


class Account:
    """An account in one region, for one run. ``role`` is an execution role of the user's, empty to make one."""

    def __init__(
        self,
        *,
        kind: AccountKind,
        session: Any,
        ledger: Ledger,
        endpoint: str | None = None,
        role: str = "",
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        self.kind, self.ledger, self.role = kind, ledger, role
        self._session, self._endpoint, self._pauses_s = session, endpoint, pauses_s
        self._clients: dict[str, Any] = {}

    @property
    def run(self) -> str:
        """The random number in every name and tag."""
        return self.ledger.run

    @property
    def number(self) -> str:
        """AWS's number of the account."""
        return self.ledger.account

    @property
    def region(self) -> str:
        """The region that everything is made in."""
        return self.ledger.region

    @property
    def tags(self) -> dict[str, str]:
        """What everything that is made has to carry."""
        return {TAG: self.run}

    def client(self, service: str) -> Any:
        """boto3's client of a service, made once."""
        if service not in self._clients:
            self._clients[service] = _client(self._session, service, self.region, self._endpoint)
        return self._clients[service]

    def name(self, what: str) -> str:
        """A name for something new: nobody else has it, because the run's random number is in it."""
        number = len(self.ledger.entries)
        return f"{PREFIX}{self.run}-{number}-{what}"[:_NAME_LENGTH].rstrip("-")

    def make(self, kind: str, name: str, ask: Callable[[Any], Any]) -> Any:
        """What ``ask(client)`` answers, asked after it was noted; it is deleted at the end.

        Where it fails it may be there all the same, and stays noted. BuildFailure where AWS refuses.
        """
        self.ledger.note(kind, name, "asked")
        title = KINDS[kind].title
        with asking(f"making the {title} {name}"):
            answer = ask(self.client(KINDS[kind].service))
        self.ledger.note(kind, name, "made")
        return answer

    def delete(self, kind: str, name: str) -> str:
        """Delete one thing of ours now; why it is still there, if it is: it is tried again at the end."""
        return self._try_to_delete(self.ledger.entries[kind, name])

    def delete_all(self) -> list[Leftover]:
        """Delete everything that was made, tried several times; what is left."""
        left: list[Leftover] = []
        for pause_s in self._pauses_s:
            if not self.ledger.open_entries():
                return []
            time.sleep(pause_s)
            tried = [(entry, self._try_to_delete(entry)) for entry in self.ledger.open_entries()]
            left = [self._leftover(entry, why) for entry, why in tried if why]
        return left

    def leftovers(self) -> list[Leftover]:
        """What of the ledger is still there, without touching it."""
        return [self._leftover(entry, why) for entry in self.ledger.open_entries() if (why := self._still_there(entry))]

    def search(self) -> list[Leftover]:
        """Everything in the account and region that carries a harness's name and tag, whoever made it."""
        found = []
        for kind, about in KINDS.items():
            client = self.client(about.service)
            try:
                with asking(f"listing every {about.title}"):
                    names = list(about.names(client, PREFIX))
                for name in names:
                    run = (self._tags(kind, name) or {}).get(TAG, "")
                    if run:
                        found.append(Leftover(run=run, kind=kind, name=name, region=self.region))
            except HarnessError as error:
                log.error("%s", error)  # noqa: TRY400 -- a service that this user may not list hides no other
        return found

    def _leftover(self, entry: Entry, why: str) -> Leftover:
        return Leftover(run=self.run, kind=entry.kind, name=entry.name, region=self.region, why=why)

    def _try_to_delete(self, entry: Entry) -> str:
        """Delete it where it is ours; empty, or why it is still there."""
        about = KINDS[entry.kind]
        try:
            tags = self._tags(entry.kind, entry.name)
            if tags is not None and self._ours(entry, tags):
                with asking(f"deleting the {about.title} {entry.name}"):
                    about.delete(self.client(about.service), entry.name)
                tags = self._tags(entry.kind, entry.name)
                if tags is not None:
                    return "it was asked to go, and is still there"
        except Exception as error:  # whatever it is, the others have to be tried
            return _in_a_line(error)
        self.ledger.note(entry.kind, entry.name, "gone" if tags is None else "not ours")
        return ""

    def _still_there(self, entry: Entry) -> str:
        try:
            tags = self._tags(entry.kind, entry.name)
        except HarnessError as error:
            return f"it can't be asked for: {_in_a_line(error)}"
        return "it is there" if tags is not None and self._ours(entry, tags) else ""

    def _ours(self, entry: Entry, tags: Any) -> bool:
        """By its tag; a bucket gets its tag after it is made, until then by the run's random number in its name."""
        return tags.get(TAG) == self.run or (not tags and self.run in entry.name)

    def _tags(self, kind: str, name: str) -> Any:
        about = KINDS[kind]
        with asking(f"looking for the {about.title} {name}"):
            try:
                return about.tags(self.client(about.service), name)
            except Exception as error:
                if absent(error):
                    return None
                raise


@contextmanager
def on_moto(endpoint: str) -> Iterator[Account]:
    """An account of the stand-in at ``endpoint``. The user's own configuration and keys are never looked at."""
    check()
    with process.temporary_folder("aws") as folder:
        ledger = Ledger(file=folder / "ledger.json", run=secrets.token_hex(8), account="123456789012", region="")
        ledger.region = _REGION_OF_MOTO
        account = Account(
            kind="moto", session=_keyless_session(), ledger=ledger, endpoint=endpoint, pauses_s=(0.0, 0.1, 0.5)
        )
        with _all_deleted(account):
            yield account


@contextmanager
def real(*, role: str = "") -> Iterator[Account]:
    """The user's own account, by boto3's usual chain. What is made is deleted at the end.

    MissingComponent without boto3 or keys; BadInput without a region; CheckFailure where something is left.
    """
    session, number, region = user_session()
    folder, run = _folder(), secrets.token_hex(8)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ledger = Ledger(file=folder / f"{run}.json", run=run, account=number, region=region)
    with _held(ledger.file):
        with _all_deleted(Account(kind="real", session=session, ledger=ledger, role=role)) as account:
            yield account
        _forget(ledger)


def of_ledger(ledger: Ledger) -> Account:
    """The account that an earlier run's ledger speaks of. BadInput where the user's keys are of another."""
    session, number, _ = user_session()
    if number != ledger.account:
        raise BadInput(
            f"is of account {ledger.account}, and the keys in use are of {number}",
            file=ledger.file,
            remedy="set AWS_PROFILE to that account's profile",
        )
    return Account(kind="real", session=session, ledger=ledger)


def found_by_search() -> list[Leftover]:
    """What carries a harness's name and tag in the user's account and region, but of runs that are going on here."""
    session, number, region = user_session()
    nowhere = Ledger(file=_folder() / "none.json", run="", account=number, region=region)
    going_on = {file.stem for file in _folder().glob("*.json")} - {ledger.run for ledger in ledgers()}
    found = Account(kind="real", session=session, ledger=nowhere).search()
    return [one for one in found if one.run not in going_on]


def delete_leftovers(ledger: Ledger) -> list[Leftover]:
    """Delete what an earlier run left; its ledger goes when nothing is left."""
    with _held(ledger.file, wait=False) as ours:
        if not ours:
            raise BadInput("is in use by a harness that runs", file=ledger.file, remedy="wait for its end")
        with process.uninterrupted():
            left = of_ledger(ledger).delete_all()
    if not left:
        _forget(ledger)
    return left


def check() -> None:
    """MissingComponent where boto3 is not installed."""
    if importlib.util.find_spec("boto3") is None:
        raise MissingComponent(
            "boto3, Amazon's client, is not installed", remedy="pip install ml-packaging-harness[aws]"
        )


def user_session() -> tuple[Any, str, str]:
    """boto3's session by the user's usual chain, the account's number, and the region."""
    check()
    import boto3

    with asking("asking AWS who we are"):
        session = boto3.session.Session()
        region = session.region_name
        if not region:
            raise BadInput("no region is chosen", key="AWS_REGION", remedy="export AWS_REGION=eu-central-1, say")
        number = str(_client(session, "sts", region, None).get_caller_identity()["Account"])
    return session, number, region


@contextmanager
def asking(doing: str) -> Iterator[None]:
    """The time counts as a tool's, and what boto3 raises becomes our errors."""
    import botocore.exceptions as refusals

    with process.ledger.waiting_for("tools"):
        try:
            yield
        except (refusals.NoCredentialsError, refusals.PartialCredentialsError, refusals.ProfileNotFound) as error:
            raise MissingComponent(
                f"{doing}: there are no keys for AWS ({error})", remedy="'aws configure', or set AWS_PROFILE"
            ) from error
        except (refusals.ConnectionError, refusals.HTTPClientError) as error:
            raise MissingComponent(f"{doing}: AWS does not answer ({error})", remedy="check the network") from error
        except refusals.ClientError as error:
            raise BuildFailure(f"{doing}: AWS refused", log=str(error)) from error
        except (refusals.BotoCoreError, RuntimeError) as error:
            raise BuildFailure(f"{doing} failed", log=str(error)) from error


@contextmanager
def _all_deleted(account: Account) -> Iterator[Account]:
    """Delete everything when the block ends, however it does. CheckFailure where something is left."""
    failed = True
    try:
        yield account
        failed = False
    finally:
        with process.uninterrupted():
            left = account.delete_all()
        if left:
            text = "".join(f"\n    {one}" for one in left)
            count = "1 thing" if len(left) == 1 else f"{len(left)} things"
            problem = f"{count} could not be deleted in account {account.number}:{text}"
            remedy = "'harness aws leftovers --delete' tries again"
            log.error("%s\n  remedy: %s", problem, remedy)
            if not failed:
                raise CheckFailure(problem, remedy=remedy)


def _forget(ledger: Ledger) -> None:
    if not ledger.open_entries():
        for suffix in (".json", ".part", ".lock"):
            ledger.file.with_suffix(suffix).unlink(missing_ok=True)


def _keyless_session() -> Any:
    """A session for the stand-in, which wants keys but checks none: the user's are not read."""
    import boto3
    import botocore.session

    nothing = (None, None, os.devnull, None)
    unread = {"profile": (None, None, None, None), "config_file": nothing, "credentials_file": nothing}
    core = botocore.session.Session(session_vars=unread)
    return boto3.session.Session(
        botocore_session=core,
        aws_access_key_id="stand-in",
        aws_secret_access_key="stand-in",  # noqa: S106 -- no secret
    )


def _client(session: Any, service: str, region: str, endpoint: str | None) -> Any:
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "max_attempts": 5},
        connect_timeout=10,
        read_timeout=900,  # a function may take that long to answer
        s3={"addressing_style": "path" if endpoint else "auto"},
        # A proxy is for the way out; the stand-in is on this machine.
        **({"proxies": {}} if endpoint else {}),
    )
    return session.client(service, region_name=region, endpoint_url=endpoint, config=config)


def _in_a_line(error: Exception) -> str:
    """What went wrong, with what AWS said, if it said anything."""
    parts = [str(error).splitlines()[0] if str(error) else type(error).__name__, getattr(error, "log", "")]
    return ": ".join(part.strip() for part in parts if part)[:400]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
