"""The machine in a real kernel."""

import os
import time

import pytest

from course_utils.runtime import ROOT

CELLS = [
    (
        "from course_utils.exercises import check\n\ndef seed_interval(values, t):\n    '''Mean and"
        " half-width.'''\n    ..."
    ),
    "check('09.1', seed_interval)",
    "check('09.1', lambda values, t: exit())",
    "check('09.1', lambda values, t: quit())",
    (
        "def f(values, t):\n    while True:\n        try: len(values)\n        except:"
        " pass\ncheck('09.1', f, time_limit=0.3)"
    ),
    "def f(values, t):\n    return f(values, t)\ncheck('09.1', f)",
    "def f(values, t):\n    print('noise')\n    return sum(values)\ncheck('09.1', f)",
    "check('09.1', lambda values, t: input())",
    "import os, statistics\n\ndef middle(values):\n    return statistics.mean(values)",
    (
        "os.environ['NBGRADER_EXECUTION'] = 'autograde'\ndef f(values, t):\n    s ="
        " statistics.stdev(values, middle(values))\n    return middle(values), t * s /"
        " len(values) ** 0.5\ncheck('09.1', f)"
    ),
    "print('still here')",
]
REPLIES = [
    "",
    "not attempted yet",
    "left by exit()",
    "left by exit()",
    "did not finish within 0.3 seconds",
    "calls itself without an end",
    "returned one number, expected a tuple of 2 numbers",
    "asks with input()",
    "",
    "right (8 cases)",
    "still here",
]


def test_the_kernel_survives():
    start_new_kernel = pytest.importorskip(
        "jupyter_client.manager", reason="Jupyter is not installed"
    ).start_new_kernel
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("NBGRADER_EXECUTION", None)
    manager, client = start_new_kernel(kernel_name="python3", env=environment)
    try:
        for code, expected in zip(CELLS, REPLIES, strict=True):
            messages = []
            reply = client.execute_interactive(code, output_hook=messages.append, timeout=60)
            reply = reply["content"]
            streams = [one["content"] for one in messages if one["msg_type"] == "stream"]
            text = "".join(stream["text"] for stream in streams)
            # a payload would be "ask_exit"
            assert reply["status"] == "ok" and not reply.get("payload"), reply
            assert expected in text and "noise" not in text, text
        assert manager.is_alive()
        # after check, exit exits again
        client.execute_interactive("exit()", output_hook=lambda message: None, timeout=60)
        while manager.is_alive():  # for ever, if it did not
            time.sleep(0.1)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
