"""The system calls that other people's code may not make: those that lead out of its namespaces.

A filter of ``seccomp(2)``. Everything is allowed but what makes or enters namespaces and mounts, what reaches the
kernel by interfaces with a long history of faults (bpf, keyrings, userfaultfd, io_uring, performance counters), what
looks into other processes, and sockets of a family that no network namespace keeps in (``AF_VSOCK`` reaches a virtual
machine's host). What is refused gets EPERM, as from a kernel that does not allow it to this user; ``clone3``, whose
flags a filter cannot see, gets ENOSYS, so that the C library falls back to ``clone``.

Numbers: the kernel's ``arch/x86/entry/syscalls/syscall_64.tbl`` and ``include/uapi/asm-generic/unistd.h``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data

#: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (NEWTIME is for ``clone3`` and ``unshare`` only).
_NEW_NAMESPACES = 0x20000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_X32 = 0x40000000  # x86-64's second table of calls
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)

#: For each machine: the kernel's name of it, and its numbers of the calls that are named here.
_MACHINES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {
            "ptrace": 101,
            "pivot_root": 155,
            "chroot": 161,
            "mount": 165,
            "umount2": 166,
            "add_key": 248,
            "request_key": 249,
            "keyctl": 250,
            "unshare": 272,
            "perf_event_open": 298,
            "open_by_handle_at": 304,
            "setns": 308,
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "bpf": 321,
            "userfaultfd": 323,
            "io_uring_setup": 425,
            "open_tree": 428,
            "move_mount": 429,
            "fsopen": 430,
            "fsmount": 432,
            "fspick": 433,
            "mount_setattr": 442,
            "clone": 56,
            "clone3": 435,
            "socket": 41,
            "socketpair": 53,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "umount2": 39,
            "mount": 40,
            "pivot_root": 41,
            "chroot": 51,
            "unshare": 97,
            "ptrace": 117,
            "add_key": 217,
            "request_key": 218,
            "keyctl": 219,
            "perf_event_open": 241,
            "open_by_handle_at": 265,
            "setns": 268,
            "process_vm_readv": 270,
            "process_vm_writev": 271,
            "bpf": 280,
            "userfaultfd": 282,
            "io_uring_setup": 425,
            "open_tree": 428,
            "move_mount": 429,
            "fsopen": 430,
            "fsmount": 432,
            "fspick": 433,
            "mount_setattr": 442,
            "clone": 220,
            "clone3": 435,
            "socket": 198,
            "socketpair": 199,
        },
    ),
}
_BY_ARGUMENT = ("clone", "clone3", "socket", "socketpair")

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    """``struct sock_fprog``: a number of instructions, and where they are."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def known() -> bool:
    """Whether there is a filter for this machine."""
    return os.uname().machine in _MACHINES


class Filter:
    """Puts the calling process and its children behind the filter; made before the fork, called after it.

    It needs ``no_new_privs``. On machines whose numbers are not known it does nothing: :func:`known` says so.
    """

    def __init__(self) -> None:
        self._program: _Program | None = None
        if known():
            self._code = ctypes.create_string_buffer(program(os.uname().machine))
            self._program = _Program(len(self._code) // 8, ctypes.addressof(self._code))

    def __call__(self) -> None:
        """Make the one system call; OSError where the kernel refuses it."""
        if self._program is not None:
            made = ctypes.byref(self._program)
            if _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, made, 0, 0) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))


def program(machine: str) -> bytes:
    """The filter's instructions for ``machine``, 8 bytes each (``struct sock_filter``)."""
    architecture, numbers = _MACHINES[machine]
    refused, absent = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
    lines = [(_LOAD, 0, 0, _ARCHITECTURE), (_JUMP_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, refused)]
    lines += [(_LOAD, 0, 0, _NUMBER)]
    if machine == "x86_64":
        lines += [(_JUMP_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, absent)]
    for name, number in sorted(numbers.items()):
        if name not in _BY_ARGUMENT:
            lines += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, refused)]
    lines += [(_JUMP_EQUAL, 0, 1, numbers["clone3"]), (_RETURN, 0, 0, absent)]
    lines += [(_JUMP_EQUAL, 0, 4, numbers["clone"]), (_LOAD, 0, 0, _ARGUMENT)]
    lines += [(_JUMP_ANY_BIT, 0, 1, _NEW_NAMESPACES), (_RETURN, 0, 0, refused), (_RETURN, 0, 0, _ALLOW)]
    for call in ("socket", "socketpair"):
        lines += [(_JUMP_EQUAL, 0, len(_FAMILIES) + 3, numbers[call]), (_LOAD, 0, 0, _ARGUMENT)]
        lines += [(_JUMP_EQUAL, len(_FAMILIES) - at, 0, int(family)) for at, family in enumerate(_FAMILIES)]
        lines += [(_RETURN, 0, 0, refused), (_RETURN, 0, 0, _ALLOW)]
    lines += [(_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *line) for line in lines)
