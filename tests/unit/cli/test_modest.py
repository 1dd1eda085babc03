"""A process that steps back has the lowest priorities there are, as the kernel and its own tools say."""

import os
import shutil
import subprocess
import sys

import pytest

CHILD = """
import os, subprocess, sys, threading
from isotherm.cli.modest import step_back
step_back()
def say():
    print(os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(threading.get_native_id()) == os.SCHED_IDLE)
    if sys.argv[1]:
        sys.stdout.flush()
        subprocess.run([sys.argv[1], "-p", str(threading.get_native_id())], check=True)
thread = threading.Thread(target=say)
thread.start()
thread.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of Linux")
def test_it_is_nicest_and_waits_for_an_idle_disk_threads_included() -> None:
    ionice = shutil.which("ionice") or ""
    said = subprocess.run([sys.executable, "-c", CHILD, ionice], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["19 True", *(["idle"] if ionice else [])]
    assert os.getpriority(os.PRIO_PROCESS, 0) < 19
