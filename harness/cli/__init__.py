"""The command line. `main` is the console script `gpt-oss-verify`.

A run goes through these modules; most others have one command each:

    app         finds the function of a command, and ends with its exit code
    options     the options that commands share
    verify      the main job, `eval` and `grade`
    planning    options → tasks, settings and budget
    choice      the provider, gate and budget that the options choose
    restoring   an earlier run: its tasks, and the job that finishes it
    progress    what is shown while the run is sampled
    judging     the run judged from its folder, reported, and its exit code
"""

from harness.cli.app import main

__all__ = ["main"]
