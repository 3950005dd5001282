"""The command line. `main` is the console script `gpt-oss-verify`.

A run passes through these modules; most of the others implement one command each:

    app         calls the function of a command, and exits with its code
    options     the options that commands share
    verify      the main job, `eval` and `grade`
    resolve     options → the provider, grader, gate and budget that they select
    planning    what is selected → the plan of a run, a new one or an earlier one
    progress    what is shown while the run is sampled
    judge_and_report   judging and reporting a run from its folder, and its exit code
    pytest_plugin      the results of a run as tests of a pytest session
"""


def main() -> None:
    """Run the command line and exit."""
    from gpt_oss_verify.app import main as run_and_exit  # after `__main__` corrects the path

    run_and_exit()
