#!/usr/bin/env python3
"""Runs a command, and says what it took, in one line: when it began (seconds since 1970), seconds, seconds of CPU, the most
memory it had in MiB, and the seconds of CPU that its threads called `digest` had. Its children's CPU and memory do not
count. Linux."""

import glob
import os
import subprocess
import sys
import time

TICK = os.sysconf("SC_CLK_TCK")


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def seconds(stat):
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK if len(fields) > 12 else 0.0


at, began = time.time(), time.monotonic()
child = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
cpu = memory = 0.0
digest = {}
while child.poll() is None:
    for line in read(f"/proc/{child.pid}/status").splitlines():
        if line.startswith("VmHWM:"):
            memory = int(line.split()[1]) / 1024
    cpu = max(cpu, seconds(read(f"/proc/{child.pid}/stat")))
    for task in glob.glob(f"/proc/{child.pid}/task/*"):
        stat = read(f"{task}/stat")
        if "(digest)" in stat:
            digest[task] = seconds(stat)
    time.sleep(0.1)
print(f"{at:.3f} {time.monotonic() - began:.3f} {cpu:.2f} {memory:.1f} {sum(digest.values()):.2f}")
sys.exit(child.returncode)
