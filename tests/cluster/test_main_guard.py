"""Worker processes import the main script again: a script that cannot bear that is told so at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

CALL = "with Compute(workers=1, worker_cpus=1, worker_mem_gb=0.5).connect() as client:\n    print('connected')\n"
IMPORT = "from teralign.cluster import Compute\n"
GUARD = 'if __name__ == "__main__":\n'


def indented(code: str) -> str:
    return "".join(f"    {line}\n" for line in code.splitlines())


def run(tmp_path, code: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(code)
    return subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, env=dict(os.environ))


@pytest.mark.parametrize(
    "code",
    [IMPORT + CALL, f"{IMPORT}def main():\n{indented(CALL)}main()\n", f"{IMPORT}{CALL}{GUARD}    pass\n"],
    ids=["plain", "in a function", "guarded too late"],
)
def test_a_script_without_a_guard_is_told_at_once(tmp_path, code):
    began = time.monotonic()
    done = run(tmp_path, code)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("teralign.errors.InputError: ")
    assert "script.py, line " in last
    assert '`if __name__ == "__main__":`' in last
    assert done.stderr.count("Traceback") == 1
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    "code",
    [
        IMPORT + GUARD + indented(CALL),
        f"{IMPORT}import sys\nif __name__ != '__main__':\n    sys.exit()\n{CALL}",
        f"{IMPORT}def main():\n{indented(CALL)}{GUARD}    main()\n",
    ],
    ids=["guarded", "left early", "in a function"],
)
def test_a_guarded_script_gets_its_workers(tmp_path, code):
    done = run(tmp_path, code)
    assert (done.returncode, done.stdout) == (0, "connected\n"), done.stderr


def test_a_program_without_a_script_needs_no_guard():
    done = subprocess.run([sys.executable, "-c", IMPORT + CALL], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "connected\n"), done.stderr
