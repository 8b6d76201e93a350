"""Prints the tables: `table.py DIRECTORY` reads the *.tsv there and writes Markdown to stdout.

A line of results has suite, group, way, passed and failed. slow.tsv has its own columns; see
`polite.py`.
"""

import collections
import pathlib
import sys

WAYS = ["direct", "picluster", "haproxy", "nginx"]
TITLES = {"haproxy": "HAProxy"}
ORDER = ["websocket", "exchanges", "clients"]


def main(directory):
    titles = [TITLES.get(way, way) for way in WAYS]
    rows = [["suite", "group", *titles]]
    for name in ORDER:
        rows += counts(directory / f"{name}.tsv")
    print_table(rows)
    slow = lines(directory / "slow.tsv")
    if slow:
        print()
        print_table(slow)


def counts(file):
    """A row for each group: "passed of all" for each way."""
    groups = collections.defaultdict(dict)
    for suite, group, way, passed, failed in lines(file):
        groups[suite, group][way] = (int(passed), int(passed) + int(failed))
    total = {way: [sum(n) for n in zip(*(g[way] for g in groups.values() if way in g))] for way in WAYS}
    rows = [[*key, *(cell(group.get(way)) for way in WAYS)] for key, group in groups.items()]
    if len(rows) > 1:
        rows.append([rows[0][0], "**all**", *(cell(total[way]) for way in WAYS)])
    return rows


def cell(count):
    return f"{count[0]} of {count[1]}" if count else "–"


def lines(file):
    return [line.split("\t") for line in file.read_text().splitlines()] if file.exists() else []


def print_table(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    for row in rows:
        print("|", " | ".join(text.ljust(width) for text, width in zip(row, widths)), "|")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
