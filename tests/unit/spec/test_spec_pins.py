"""The text of a lock: what is a pin, and that nothing else is one."""

from __future__ import annotations

import pytest

from harness.errors import BadInput
from harness.spec import pins
from harness.spec.model import requirement_text
from harness.spec.pins import Pin

A, B = "a" * 64, "b" * 64
TEXT = f"""# locked for: {A}
numpy==2.0.0 \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
    # from https://pypi.org/simple
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:{B}

torch==2.5.0+cpu --hash=sha256:{A}
    # from https://download.pytorch.org/whl/cpu
"""
GOOD = f"numpy==2.0.0 --hash=sha256:{A}"


def parse(text: str) -> list[Pin]:
    """As of a model with PyTorch."""
    return pins.parse(text, file="requirements.lock", remedy="lock again", torch_backend="cpu")


def test_pins_are_the_locked_lines_with_their_hashes() -> None:
    """Comments are left out; conditions and local versions stay; hashes and indexes belong to their own line."""
    found = parse(TEXT)
    assert [(pin.requirement.name, pin.hashes, pin.index) for pin in found] == [
        ("numpy", {A, B}, ""),
        ("colorama", {B}, ""),
        ("torch", {A}, "https://download.pytorch.org/whl/cpu"),
    ]
    assert str(found[1].requirement.marker) == 'sys_platform == "win32"'
    assert found[2].line == "torch==2.5.0+cpu"
    assert parse("") == []


def test_what_is_written_is_what_was_read() -> None:
    """And as uv writes it, so that a lock of uv's stays as it is."""
    found = parse(TEXT)
    written = pins.render(found, ["numpy"])
    assert parse(written) == found
    assert pins.render(parse(written), ["numpy"]) == written
    assert f"numpy==2.0.0 \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{B}\n" in written


@pytest.mark.parametrize(
    "line",
    [
        "numpy==2.0.0",
        "numpy>=2.0.0 --hash=sha256:" + A,
        "numpy===2.0.0 --hash=sha256:" + A,
        "numpy==2.* --hash=sha256:" + A,
        "numpy==2.0,>1 --hash=sha256:" + A,
        "numpy[extra]==2.0 --hash=sha256:" + A,
        "numpy==${HOME} --hash=sha256:" + A,
        "numpy==2.0 --hash=md5:" + A,
        "numpy==2.0 --hash=sha256:" + A[:-1],
        "numpy==2.0 --hash=sha256:" + A + " --index-url https://evil.example",
        "numpy==2.0 --hash=sha256:" + A + " -r more.txt",
        "numpy==2.0 --config-settings=x --hash=sha256:" + A,
        "numpy==2.0 ; python_version ~= 'x y' --hash=sha256:" + A,
        "numpy==2.0 ; nonsense --hash=sha256:" + A,
        "numpy==2.0 ; " + "(" * 500 + "python_version > '3'" + ")" * 500 + " --hash=sha256:" + A,
        "numpy @ https://evil.example/numpy.whl --hash=sha256:" + A,
        "https://evil.example/numpy-1.0.tar.gz",
        "file:///etc/shadow",
        "./evil",
        "evil-1.0.tar.gz --hash=sha256:" + A,
        "-e ./evil",
        "--editable=./evil",
        "-r more.txt",
        "-c more.txt",
        "--requirement=more.txt",
        "-i https://evil.example",
        "--index-url https://evil.example",
        "--extra-index-url=https://evil.example",
        "-f /tmp",
        "--find-links /tmp",
        "--no-binary :all:",
        "--pre",
        "--trusted-host evil.example",
        GOOD + " \\\n-r more.txt",
        GOOD + " \\\n# comment\n-r more.txt",
        GOOD + "\r-r more.txt",
        GOOD + "\x0b-r more.txt",
        GOOD + "\x85-r more.txt",
        GOOD + "\u2028-r more.txt",
        GOOD + " # -r more.txt",
        GOOD + " \\",
        "\ufeff" + GOOD,
        "n\u00fampy==2.0 --hash=sha256:" + A,
        "numpy==\u0662.0 --hash=sha256:" + A,
        "# from https://evil.example/simple",
        "# from https://download.pytorch.org.evil.example/whl/cpu",
        "# from https://download.pytorch.org/whl/cpu/../../evil",
    ],
)
def test_nothing_else_is_a_pin(line: str) -> None:
    """It is refused with its number and what to do, wherever in the lock it stands."""
    for text in (f"{GOOD}\n{line}\n", f"{line}\n{GOOD}\n"):
        with pytest.raises(BadInput, match=r"requirements\.lock: .*line [12] ") as raised:
            parse(text)
        assert raised.value.remedy == "lock again"


def test_the_users_own_indexes_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are asked anyway, so nothing is told of them to an installer."""
    text = f"{GOOD}\n    # from https://mirror.example/simple\n"
    with pytest.raises(BadInput, match="line 2 names an index"):
        parse(text)
    monkeypatch.setenv("UV_INDEX", "ours=https://mirror.example/simple/")
    assert [pin.index for pin in parse(text)] == [""]


@pytest.mark.parametrize(
    "text",
    [
        "numpy===\n-e/root/evil",
        "numpy\n",
        "numpy==1.0\t",
        "numpy===${SECRET}",
        "numpy; python_version > '\x00'",
        "numpy @ https://evil.example/x.whl",
        "numpy; " + "(" * 5000 + "python_version > '3'" + ")" * 5000,
        "-r more.txt",
    ],
)
def test_a_requirement_is_one_plain_line(text: str) -> None:
    """Installers read requirements as lines of a file."""
    with pytest.raises(ValueError, match=r"is not a requirement|by URL|other signs"):
        requirement_text(text)


def test_requirements_are_written_with_plain_signs() -> None:
    """All that PEP 508 needs but addresses."""
    for text in ("numpy", "uvicorn[standard]>=0.1,!=0.2 ; python_version < '4' and (os_name == \"posix\")", "a~=1!2.0"):
        assert requirement_text(text) == text


def test_the_header_does_not_depend_on_the_order() -> None:
    """It is a digest of the sorted requirements."""
    assert pins.header(["b", "a"]) == pins.header(["a", "b"])
