"""A command's process ends when its work is done, whatever threads of libraries hold then."""

from __future__ import annotations

import subprocess
import sys

STUCK = """
import logging, threading, time
from teralign.cli import main

taken = threading.Event()

def hold():  # as a thread of Dask's may, in the middle of a message
    logging._lock.acquire()
    taken.set()
    time.sleep(1000)

handler = logging.Handler()
handler.itself = handler
del handler  # Python takes that lock when it collects this at its end
threading.Thread(target=hold, daemon=True).start()
taken.wait()
print("said")
{leave}
"""


def end_of(leave: str) -> subprocess.CompletedProcess[str]:
    script = STUCK.format(leave=leave)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20)


def test_a_command_ends_though_a_thread_holds_what_python_waits_for_at_its_end():
    done = end_of("main._leave(3)")
    assert (done.returncode, done.stdout) == (3, "said\n")
