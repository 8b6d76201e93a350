"""Runs the Autobahn WebSocket cases: `autobahn.py WAY PORT RESULTS DETAILS`.

kosoku runs the Autobahn test suite's own case files. Each group of cases becomes a line of RESULTS.
Each case, with the close codes of both sides, becomes a line of DETAILS.
"""

import asyncio
import collections
import sys

from kosoku import FailureError, run_fuzzingclient

GROUPS = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "closing",
    "9": "up to 16 MiB a message",
    "10": "split into TCP segments",
    "12": "compression",
    "13": "compression, options",
}


async def main(way, port, results, details):
    try:
        cases = await run_fuzzingclient(f"127.0.0.1:{port}", None, None, concurrency=4)
    except FailureError as failed:
        cases = failed.results
    groups = collections.defaultdict(collections.Counter)
    with open(details, "w") as out:
        for case in cases:
            groups[case.case_id.split(".")[0]][case.passed] += 1
            said = (case.case_id, case.behavior.value, case.behavior_close.value)
            codes = (case.local_close_code, case.remote_close_code)
            print(*said, *codes, file=out)
    with open(results, "a") as out:
        for number, name in GROUPS.items():
            count = groups[number]
            group = f"{number}: {name}"
            print("WebSocket", group, way, count[True], count[False], sep="\t", file=out)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]))
