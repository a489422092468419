"""Start a command, ask it one question, end when the right answer is there: with nothing of the harness in it.

    by_hand.py nothing FOLDER --                  do all but start and ask something: what this program itself takes
    by_hand.py ended FOLDER -- COMMAND...         until the command has ended
    by_hand.py socket FOLDER PATH -- COMMAND...   ask on the Unix socket PATH, as soon as it is there
    by_hand.py output FOLDER -- COMMAND...        ask on standard input, the answer is a line of standard output

FOLDER has the files ``request`` and ``expected``, a line each, compared as they are. This program writes ``log``
there, which is what the command prints, and ``took``: process id, seconds from the spawn to the answer on the
monotonic clock, and VmHWM of the process in bytes when it had answered. The command goes on; whoever started this ends
it. Standard library only, and little of that: it is to be timed from outside, and its own start is in that time.
"""

import os
import socket
import sys
import time

PATIENCE_S = 120
POLL_S = 0.0005


def main(argv):
    cut = argv.index("--")
    (mode, folder, *more), command = argv[:cut], argv[cut + 1 :]
    with open(f"{folder}/request", "rb") as file:
        request = file.read()
    with open(f"{folder}/expected", "rb") as file:
        expected = file.read()
    log = os.open(f"{folder}/log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    to_command, question = os.pipe()
    answer_of, from_command = os.pipe()
    told = [(os.POSIX_SPAWN_DUP2, to_command, 0), (os.POSIX_SPAWN_DUP2, log, 2)]
    told.append((os.POSIX_SPAWN_DUP2, from_command if mode == "output" else log, 1))
    begin = time.monotonic()
    pid = os.getpid() if mode == "nothing" else os.posix_spawnp(command[0], command, os.environ, file_actions=told)
    os.close(from_command)
    if mode == "ended":
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if mode == "nothing":
        got = expected
    elif mode == "socket":
        got = asked(more[0], request, pid, begin)
    else:
        os.write(question, request)
        got = line(lambda: os.read(answer_of, 65536))
    took = time.monotonic() - begin
    if got != expected:
        sys.stderr.write(f"answered {got[:300]!r}, not {expected[:300]!r}\n")
        return 1
    with open(f"{folder}/took", "w") as file:
        file.write(f"{pid} {took!r} {most_resident(pid)}")
    return 0


def asked(path, request, pid, begin):
    """The line that is answered on the socket."""
    while True:
        try:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(path)
            break
        except OSError:
            connection.close()
        if os.waitpid(pid, os.WNOHANG)[0] or time.monotonic() - begin > PATIENCE_S:
            return b"nothing: it has ended, or did not listen"
        time.sleep(POLL_S)
    connection.sendall(request)
    return line(lambda: connection.recv(65536))


def line(read):
    """What is read until a line or everything ends."""
    got = b""
    while not got.endswith(b"\n") and (chunk := read()):
        got += chunk
    return got


def most_resident(pid):
    """VmHWM in bytes; 0 where the process is gone."""
    try:
        with open(f"/proc/{pid}/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # at once: what an interpreter does at its end is no part of a start
