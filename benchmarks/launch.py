"""Run one command as a whole process and write what it took: ``python -IS launch.py RESULT LOG COMMAND...``.

A process of its own, with nothing imported: Linux counts the memory of the process that starts another one towards the
peak of the new one, so a large starter would hide what a small command takes.
"""

import json
import os
import sys
import time


def main(result: str, log: str, *command: str) -> None:
    """Run the command, its output in the log; time, processor time and memory are of its whole tree of processes."""
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    began = time.monotonic()
    child = os.posix_spawnp(
        command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, said, 1), (os.POSIX_SPAWN_DUP2, said, 2)]
    )
    _, status, usage = os.wait4(child, 0)
    taken = {
        "wall_s": time.monotonic() - began,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        # Of the largest single process; macOS counts in bytes.
        "peak_rss_mib": usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 1024),
        "exit_code": os.waitstatus_to_exitcode(status),
    }
    with open(result, "w") as file:
        json.dump(taken, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
