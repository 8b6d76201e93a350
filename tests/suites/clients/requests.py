"""Python requests: `requests.py URL DIRECTORY`."""

import pathlib
import sys

# This file has the name of the library.
sys.path.pop(0)
import requests  # noqa: E402

URL, OUT = sys.argv[1], pathlib.Path(sys.argv[2])
BODY = b"hello, world\n"


def ask(name, method, path, session=None, **options):
    try:
        with (session or requests.Session()) as session:
            answer = session.request(method, URL + path, timeout=20, **options)
            said = [told(answer) for answer in [*answer.history, answer]]
    except requests.RequestException as error:
        said = [type(error).__name__.encode()]
    (OUT / name).write_bytes(b"\n".join(said))


def told(answer):
    fields = answer.raw.headers.items()
    head = [f"{answer.status_code} {answer.reason}", *(f"{name}: {value}" for name, value in fields)]
    return "\n".join(head).encode() + b"\n\n" + answer.content


ask("get", "GET", "/echo", params={"a": "1", "b": "ü"})
ask("post-length", "POST", "/echo", data=BODY)
ask("post-form", "POST", "/echo", data={"a": "1", "b": "2"})
ask("post-json", "POST", "/echo", json={"a": [1, 2]})
ask("post-chunked", "POST", "/echo", data=iter([BODY, BODY]))
ask("put-1mb", "PUT", "/echo", data=b"x" * (1 << 20))
ask("redirect", "GET", "/redirect")
ask("gzip", "GET", "/gzip")
ask("cookies", "GET", "/cookies")
ask("fields", "GET", "/fields")
ask("range", "GET", "/range", headers={"Range": "bytes=10-19"})
ask("head", "HEAD", "/large")
ask("large", "GET", "/large")
ask("not-found", "GET", "/none")
ask("chunked", "GET", "/chunked")
ask("until-close", "GET", "/close")
ask("unchanged", "GET", "/unchanged", headers={"If-None-Match": '"v1"'})
ask("empty", "GET", "/empty")
ask("big-field", "GET", "/big", headers={"X-Big": "b" * 6000})

with requests.Session() as session:
    for path in "/echo?1", "/chunked", "/empty", "/echo?2":
        session.get(URL + path, timeout=20)
    pools = session.get_adapter(URL).poolmanager.pools
    made = pools[next(iter(pools.keys()))].num_connections
    (OUT / "kept").write_text(f"connections: {made}\n")
