"""What may be rung has a function that answers."""

from __future__ import annotations

import subprocess
import sys


def test_every_task_is_known_to_a_worker_that_imports_what_the_app_names():
    """In a process of its own: here other tests have imported everything already."""
    program = (
        "from tasks.app import app; from config.names import Task;"
        "app.loader.import_default_modules();"
        "print(sorted(t.name for t in Task if t.value not in app.tasks))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done
