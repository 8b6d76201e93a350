"""Compares the reports of clients: `compare.py WAY DIRECT OTHER`. Both directories hold
CLIENT/EXCHANGE.

The comparison is byte for byte, without the parts that may differ by the rules of HTTP: the port of
the request, fields that belong to one connection, fields that a balancer adds, and the case of field
names, which gets a line of its own. Prints lines of results, and the differences on stderr.
"""

import difflib
import pathlib
import re
import sys

OURS = "connection|keep-alive|transfer-encoding|x-forwarded-[a-z]+|via|x-picluster-node"
DROPPED = re.compile(rf"^ *({OURS}):[^\n]*(\n|$)".encode(), re.M | re.I)
PORT = re.compile(rb"127\.0\.0\.1:\d+")
NAME = re.compile(rb"^ *[A-Za-z-]+(?=:)", re.M)


def main(way, direct, other):
    kept_case = same_case = 0
    for client in sorted(path.name for path in direct.iterdir()):
        passed = failed = 0
        for told in sorted((direct / client).glob("[!.]*")):
            ours, theirs = (read(base / client / told.name) for base in (direct, other))
            kept_case += ours == theirs
            same_case += lower(ours) == lower(theirs)
            if lower(ours) == lower(theirs):
                passed += 1
            else:
                failed += 1
                show(f"{way}, {client}, {told.name}", ours, theirs)
        print("clients", client, way, passed, failed, sep="\t")
    print("clients", "names in their case", way, kept_case, same_case - kept_case, sep="\t")


def read(file):
    told = file.read_bytes() if file.exists() else b"nothing was told"
    return DROPPED.sub(b"", PORT.sub(b"HOST", told))


def lower(told):
    return NAME.sub(lambda name: name[0].lower(), told)


def show(title, *told):
    lines = [lower(one[:8000]).decode("latin1").splitlines() for one in told]
    print(title, *difflib.unified_diff(*lines, "direct", "other", n=0, lineterm=""), sep="\n", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
