"""Which system calls the filter lets through: its program is carried out here, instruction by instruction."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from harness import seccomp

ALLOW, REFUSE = 0x7FFF0000, 0x00050000
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SIGCHLD, NEWUSER, THREAD = 17, 0x10000000, 0x3D0F00


def decided(machine: str, number: int, argument: int = 0, *, architecture: int | None = None) -> int:
    """What the program for ``machine`` returns for a call: classic BPF, as far as the filter uses it."""
    data = struct.pack("<IIQQ", number, architecture or MACHINES[machine], 0, argument)
    code = list(struct.iter_unpack("HBBI", seccomp.program(machine)))
    at = accumulator = 0
    while True:
        kind, yes, no, operand = code[at]
        at += 1
        match kind:
            case 0x20:
                accumulator = struct.unpack_from("<I", data, operand)[0]
            case 0x15:
                at += yes if accumulator == operand else no
            case 0x35:
                at += yes if accumulator >= operand else no
            case 0x45:
                at += yes if accumulator & operand else no
            case 0x06:
                return operand


def number(machine: str, call: str) -> int:
    """The machine's number of a call."""
    return seccomp._MACHINES[machine][1][call]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("call", ["unshare", "setns", "mount", "keyctl", "bpf", "ptrace", "io_uring_setup", "chroot"])
def test_what_leads_out_is_refused(machine: str, call: str) -> None:
    """As if this user had no right to it."""
    assert decided(machine, number(machine, call)) == REFUSE | errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_processes_and_threads_may_be_made_but_no_namespaces(machine: str) -> None:
    """The flags are the first argument; ``clone3`` hides them, so it is as if the kernel did not have it."""
    clone = number(machine, "clone")
    assert decided(machine, clone, SIGCHLD) == ALLOW
    assert decided(machine, clone, THREAD) == ALLOW
    assert decided(machine, clone, SIGCHLD | NEWUSER) == REFUSE | errno.EPERM
    assert decided(machine, number(machine, "clone3")) == REFUSE | errno.ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("call", ["socket", "socketpair"])
def test_only_families_that_a_namespace_keeps_in_have_sockets(machine: str, call: str) -> None:
    """A virtual machine's host is reached by AF_VSOCK, whatever the network namespace."""
    for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):
        assert decided(machine, number(machine, call), family) == ALLOW
    for family in (40, 38, 17, 31, 0):
        assert decided(machine, number(machine, call), family) == REFUSE | errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_everything_else_is_allowed(machine: str) -> None:
    """Every other number up to the highest that is used."""
    named = set(seccomp._MACHINES[machine][1].values())
    assert {decided(machine, other) for other in range(462) if other not in named} == {ALLOW}


def test_calls_of_another_table_are_refused() -> None:
    """Those of 32-bit programs have other numbers, and x32's have a bit more."""
    assert decided("x86_64", 0, architecture=0x40000003) == REFUSE | errno.EPERM
    assert decided("x86_64", 0x40000000 | number("x86_64", "unshare")) == REFUSE | errno.ENOSYS
