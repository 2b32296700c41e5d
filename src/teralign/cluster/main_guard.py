"""A check that the main script can start worker processes.

A worker process begins with a copy of the main script, which Python imports again in it. A script that starts workers
outside `if __name__ == "__main__":` would start workers in each worker, and Python ends those with tracebacks.
"""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path

from teralign.errors import InputError


def check_main_guard() -> None:
    """Raise InputError when the main script is about to start worker processes outside a `__main__` guard.

    A notebook and a prompt have no script that would be imported again.
    """
    main = sys.modules.get("__main__")
    script = getattr(main, "__file__", None)
    line = _line_of(vars(main)) if main else None
    if script is None or line is None or not Path(script).is_file():
        return
    try:
        tree = ast.parse(Path(script).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    if not any(guard.lineno <= line for guard in ast.walk(tree) if isinstance(guard, ast.If) and _is_guard(guard)):
        raise InputError(
            f"{script}, line {line}, starts worker processes, each of which imports this script again: put what it "
            'does below `if __name__ == "__main__":`, or name a running scheduler (Compute(scheduler=…)).'
        )


def _line_of(variables: dict[str, object]) -> int | None:
    """Return the line at which the module with these variables is, in this thread; None when it is not running."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals is variables and frame.f_code.co_name == "<module>":
            return frame.f_lineno
        frame = frame.f_back
    return None


def _is_guard(guard: ast.If) -> bool:
    """Return whether a condition asks for the name `__main__`."""
    parts = list(ast.walk(guard.test))
    names = {part.id for part in parts if isinstance(part, ast.Name)}
    values = {part.value for part in parts if isinstance(part, ast.Constant)}
    return "__name__" in names and "__main__" in values
