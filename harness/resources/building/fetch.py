"""Fetch one file: ``fetch.py ADDRESS TARGET MOST_BYTES``. Nothing of it is executed or unpacked.

Proxies, certificates and passwords are those that pip and uv are given: of the environment, and of ``~/.netrc``.
"""

import base64
import netrc
import os
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request

_STALLED_S = float(os.environ.get("PIP_DEFAULT_TIMEOUT") or 30)
_STALLED = f"nothing came for {_STALLED_S:g} s (PIP_DEFAULT_TIMEOUT sets another time)"
_INDEXES = (
    *("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"),
)


def _trusted():
    """The system's certificates, and those that the user names."""
    context = ssl.create_default_context()
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        place = os.environ.get(name)
        if place:
            context.load_verify_locations(**{"capath" if os.path.isdir(place) else "cafile": place})
    return context


def _credentials(address):
    """User and password for the host of ``address``; None where there are none."""
    host = address.netloc.rpartition("@")[2]
    for word in (word for name in _INDEXES for word in os.environ.get(name, "").split()):
        index = urllib.parse.urlsplit(word[word.find("http") :])
        if index.username and index.scheme == address.scheme and index.netloc.rpartition("@")[2] == host:
            return urllib.parse.unquote(index.username), urllib.parse.unquote(index.password or "")
    file = os.environ.get("NETRC") or os.path.expanduser("~/.netrc")
    try:
        found = netrc.netrc(file).authenticators(address.hostname) if os.path.isfile(file) else None
    except (netrc.NetrcParseError, OSError):
        return None
    return (found[0], found[2] or "") if found else None


def fetch(url, target, most):
    """Write what is at ``url`` to ``target``; SystemExit, saying why, where it cannot be had."""
    address = urllib.parse.urlsplit(url)
    if address.scheme not in {"http", "https"}:
        sys.exit(f"{address.scheme}: is no way to fetch a file")
    request = urllib.request.Request(urllib.parse.urlunsplit(address._replace(fragment="")))  # noqa: S310 -- see above
    known = _credentials(address)
    if known:
        coded = base64.b64encode(":".join(known).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {coded}")
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=_trusted()))
    try:
        with opener.open(request, timeout=_STALLED_S) as answer, open(target, "xb") as file:
            left = most
            while True:
                part = answer.read(min(left + 1, 2**20))
                if not part:
                    break
                left -= len(part)
                if left < 0:
                    sys.exit(f"it has more than {most} bytes")
                file.write(part)
    except urllib.error.HTTPError as error:
        sys.exit(f"HTTP status {error.code} ({error.reason})")
    except TimeoutError:
        sys.exit(_STALLED)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        sys.exit(_STALLED if isinstance(reason, TimeoutError) else str(reason))


if __name__ == "__main__":
    fetch(sys.argv[1], sys.argv[2], int(sys.argv[3]))
