"""A polite client, and the memory of the asked process: `polite.py PORT SECONDS PID`.

It sends a GET every 10 ms, one at a time, on a new and on a kept connection in turn. It prints
columns: the requests, the correct answers among them, the median and the 99th percentile in ms, and
the resident memory of the process with its children, now and at its peak, in MiB.
"""

import http.client
import pathlib
import sys
import time

EVERY = 0.01
PATIENCE = 5
ANSWER = b"hello, world\n"


def main(port, seconds, pid):
    times, good = ask_for(port, seconds)
    times.sort()
    percentile = [times[int(len(times) * share)] * 1000 for share in (0.5, 0.99)]
    memory = [sum(resident(p, key) for p in family(pid)) for key in ("VmRSS", "VmHWM")]
    print(len(times), good, *(f"{value:.1f}" for value in percentile + memory), sep="\t")


def ask_for(port, seconds):
    times, good, kept = [], 0, None
    began = due = time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        time.sleep(max(0, due - now))
        # A late request is sent at once, and the next is due as if this one had been in time.
        due += EVERY
        new = len(times) % 2 == 0
        start = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        if not new:
            connection = kept = kept or connection
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            is_good = (answer.status, body := answer.read()) == (200, ANSWER)
            good += is_good
            if not is_good:
                print("polite client got", answer.status, body[:100], file=sys.stderr)
        except (OSError, http.client.HTTPException) as error:
            print("polite client failed:", repr(error), "kept" if not new else "new", file=sys.stderr)
            kept = kept if new else None
        times.append(time.monotonic() - start)
        if new:
            connection.close()
    return times, good


def family(pid):
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *children]


def resident(pid, key):
    """A value in MiB; /proc reports it in KiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    return 0


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
