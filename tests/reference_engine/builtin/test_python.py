"""The sandbox: what programs can do, and what hostile programs cannot."""

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from waiting import until

from reference_engine.builtin.python import PythonSandbox
from reference_engine.errors import SetupError

_KEY_CALLS = "add, keyctl = (248, 250) if platform.machine() == 'x86_64' else (217, 219)"


@pytest.fixture(scope="module", autouse=True)
def isolation() -> None:
    try:
        PythonSandbox().require_isolation()
    except SetupError as error:
        pytest.skip(str(error))


def run(code: str, **limits: int) -> str:
    return asyncio.run(PythonSandbox(**limits).run(code))


def test_programs_compute_print_and_fail():
    assert run("import math; print(math.factorial(20))") == "2432902008176640000\n"
    assert run("x = 1") == ""
    assert run("print('é'); 1/0").endswith("ZeroDivisionError: division by zero\n")
    assert "SyntaxError" in run("print(")


def test_programs_share_nothing():
    wrote = "open('/tmp/note', 'w').write('x'); import os; print(sorted(os.listdir('/tmp')))"
    assert run(wrote) == run(wrote) == "['main.py', 'note']\n"


def test_files_outside_are_not_visible(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("canary", encoding="utf-8")
    os.environ["CANARY"] = "canary"
    shown = run(f"""
import glob, os
for path in ({str(secret)!r}, {__file__!r}, "/etc/passwd", "/proc/1/environ", "/sys/kernel"):
    try:
        print(path, open(path).read())
    except OSError as error:
        print(type(error).__name__)
print(dict(os.environ), os.getuid(), os.getpid(), glob.glob("/home/*") + glob.glob("/dev/s*"))
""")
    del os.environ["CANARY"]
    assert shown.count("FileNotFoundError") == 5
    assert "canary" not in shown.lower()
    assert "65534 1 []" in shown


def test_keys_of_the_server_are_not_readable():
    calls = f"import ctypes, platform; call = ctypes.CDLL(None).syscall; {_KEY_CALLS}"
    added = f"{calls}; call(keyctl, 1, None); call(add, b'user', b'canary', b'x', 1, -3)"
    search = f"{calls}; print(call(keyctl, 10, -3, b'user', b'canary', 0) > 0)"
    code = f"{added}\n{search}\nfrom test_python import run\nprint(run({search!r}))"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(Path(__file__).parent), *sys.path))},
        capture_output=True,
        check=True,
        text=True,
    )
    assert ran.stdout.split() in (["True", "False"], ["False", "False"])


def test_a_programs_exit_code_is_not_mistaken_for_a_missing_sandbox():
    assert run("print('x', flush=True); import os; os._exit(97)") == "x\n"


def test_there_is_no_network():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        shown = run(f"""
import socket
for address in (("127.0.0.1", {port}), ("192.0.2.1", 80)):
    try:
        socket.create_connection(address, 1)
        print("connected")
    except OSError as error:
        print(error.errno)
""")
    assert shown == "101\n101\n"


def test_files_outside_cannot_be_deleted():
    shown = run("""
import os, shutil, sys
for path in (os.__file__, sys.executable, "/usr/bin", "/lib"):
    try:
        os.unlink(path) if os.path.isfile(path) else shutil.rmtree(path)
        print("deleted", path)
    except OSError as error:
        print(error.strerror)
shutil.rmtree("/tmp", ignore_errors=True)
""")
    assert "deleted" not in shown
    assert Path(os.__file__).exists()


def test_a_fork_bomb_ends():
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    assert "The program was stopped (SIGKILL)" in run(bomb, seconds=1)


OUTLIVES = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)
print("done")
"""
REGAINS_PRIVILEGES = """
import ctypes, os
libc = ctypes.CDLL(None)
print(libc.unshare(0x10000000), libc.mount(b"none", b"/", None, 4096, None), libc.setuid(0))
print(libc.chroot(b"/"), libc.ptrace(16, 1, 0, 0))
"""


@pytest.mark.parametrize(
    ("program", "shown"), [(OUTLIVES, "done\n"), (REGAINS_PRIVILEGES, "-1 -1 -1\n-1 -1\n")]
)
def test_a_program_ends_with_its_processes_and_without_privileges(program, shown):
    assert run(program) == shown


def test_endless_output_is_cut_off():
    shown = run("while True: print('x' * 1000)", output=5000)
    assert len(shown) < 5100
    assert shown.endswith("[The output is longer than 5000 bytes; the rest is cut off.]\n")


def test_memory_and_files_are_limited():
    assert run("x = bytearray(10 * 2**30)").endswith("MemoryError\n")
    shown = run("""
try:
    with open("/tmp/big", "wb") as file:
        while True: file.write(bytes(2**20))
except OSError as error:
    print(error.strerror)
""")
    assert shown == "File too large\n"


def _children() -> set[str]:
    """The direct children of this process."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # The process has just ended.
            name, _, rest = path.read_text().rpartition(")")
            if rest.split()[1] == str(os.getpid()):
                found.add(name)
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_a_cancelled_program_is_stopped():
    async def give_up() -> None:
        task = asyncio.create_task(PythonSandbox().run("while True: pass"))
        before = _children()
        await until(lambda: _children() > before)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
        await until(lambda: _children() == before, seconds=10)

    asyncio.run(give_up())
