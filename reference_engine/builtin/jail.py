"""Runs the Python program on its standard input without network, files and other processes.

`python -I jail.py SECONDS MEMORY` is a separate process, so that the namespaces and limits do not
affect the server. The program runs in new user, mount, process, network, IPC and host name
namespaces (namespaces(7)) as the user nobody without capabilities. It sees the interpreter and the
system's libraries, read-only, and an empty `/tmp` in memory. If a namespace, mount or limit is not
possible, the program does not run, and the exit status is `REFUSED`; otherwise it is 0 or 1.
"""

import ctypes
import errno
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

REFUSED = 97
PROCESSES = 16
OPEN_FILES = 64
FILE_BYTES = 8 * 2**20
DISK_BYTES = 32 * 2**20

_SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_TMP = "/tmp"  # noqa: S108 - of namespaces of our own
_ENVIRONMENT = {"HOME": _TMP, "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"}
_NOBODY = 65534

# linux/sched.h: NEWUSER, NEWNS, NEWPID, NEWNET, NEWIPC, NEWUTS.
_NAMESPACES = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000
# sys/mount.h and linux/mount.h; the attributes are RDONLY, NOSUID and, except for devices, NODEV.
_NOSUID, _NODEV, _BIND, _RECURSIVE, _PRIVATE, _DETACH = 2, 4, 4096, 16384, 1 << 18, 2
_MOUNT_SETATTR, _HERE, _AND_BELOW, _READ_ONLY = 442, -100, 0x8000, 1 | 2
# linux/prctl.h: SET_PDEATHSIG, SET_NO_NEW_PRIVS.
_DEATH_SIGNAL, _NO_NEW_PRIVILEGES = 1, 38
# keyctl(2): JOIN_SESSION_KEYRING. Newer machines have the same number.
_KEYCTL, _JOIN_KEYRING = {"x86_64": 250}.get(os.uname().machine, 219), 1

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Run the program; returns the exit status."""
    seconds, memory = int(sys.argv[1]), int(sys.argv[2])
    _libc.prctl(_DEATH_SIGNAL, signal.SIGTERM)
    program = sys.stdin.buffer.read()
    try:
        _enter_namespaces()
    except OSError as error:
        return _refused(error)
    refusal, refuse = os.pipe()  # A program does not inherit it.
    child = os.fork()
    if child == 0:
        _become_program(program, seconds, memory, refuse)
    os.close(refuse)

    def end(*_: object) -> None:
        # The kernel ends all processes of a namespace when its first process ends.
        os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    _, status = os.waitpid(child, 0)
    signal.alarm(0)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        os.write(1, f"\nThe program was stopped ({name}); its limit is {seconds} s.\n".encode())
    return REFUSED if os.read(refusal, 1) else int(status != 0)


def _refused(error: OSError) -> int:
    os.write(1, f"{error.strerror}: {error.filename or 'namespaces'}".encode())
    return REFUSED


def _checked(result: int, what: str) -> None:
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), what)


def _enter_namespaces() -> None:
    """Enter the namespaces. A second process that is still outside of them maps the user ids."""
    process, uid, gid = os.getpid(), os.getuid(), os.getgid()
    reading, writing = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(writing)
        try:
            if os.read(reading, 1):
                _map_ids(process, uid, gid)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    _checked(_libc.unshare(_NAMESPACES), "unshare")
    os.write(writing, b"!")
    _, status = os.waitpid(helper, 0)
    if number := os.waitstatus_to_exitcode(status):
        raise OSError(number, os.strerror(number), "uid_map")


def _map_ids(process: int, uid: int, gid: int) -> None:
    """Map nobody to this user, or to the outer nobody if this is root, who has no limits."""
    folder = Path(f"/proc/{process}")
    if uid:
        (folder / "setgroups").write_bytes(b"deny")
    for name, outside in (("gid_map", gid), ("uid_map", uid)):
        root = f"0 0 1\n{_NOBODY} {_NOBODY} 1"
        (folder / name).write_bytes((f"{_NOBODY} {outside} 1" if uid else root).encode())


def _become_program(program: bytes, seconds: int, memory: int, refuse: int) -> NoReturn:
    try:
        _leave_keyring()
        _checked(_libc.prctl(_DEATH_SIGNAL, signal.SIGKILL), "prctl")
        Path("/proc/self/oom_score_adj").write_bytes(b"1000")
        with suppress(OSError):  # A nested namespace would not lead out of this one.
            Path("/proc/sys/user/max_user_namespaces").write_bytes(b"0")
        python = os.path.realpath(sys.executable)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        _enter_root()
        Path(f"{_TMP}/main.py").write_bytes(program)
        os.chdir(_TMP)
        if os.getuid() == 0:
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        _checked(_libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "prctl")
        _limit(seconds, memory)
        os.execve(python, [python, "-I", "-B", "-u", "main.py"], _ENVIRONMENT)  # noqa: S606
    except OSError as error:
        os.write(refuse, b"!")
        os._exit(_refused(error))


def _leave_keyring() -> None:
    """Join an empty session keyring: no namespace hides keys in the keyring of the server."""
    result = _libc.syscall(_KEYCTL, _JOIN_KEYRING, None)
    # If there are no keyrings, or a container forbids them, the program cannot read keys either.
    if ctypes.get_errno() not in {errno.ENOSYS, errno.EPERM}:
        _checked(result, "session keyring")


def _enter_root() -> None:
    """Replace all file systems by one in memory that contains only what the interpreter needs."""
    sources = [(path, os.open(path, os.O_PATH)) for path in _shared() if not os.path.islink(path)]
    links = [(path, os.readlink(path)) for path in _shared() if os.path.islink(path)]
    _mount("none", "/", None, _RECURSIVE | _PRIVATE)
    _mount("tmpfs", _TMP, "tmpfs", _NOSUID | _NODEV, f"size={DISK_BYTES},mode=755")
    for path, descriptor in sources:
        target = Path(_TMP + path)
        folder = os.path.isdir(f"/proc/self/fd/{descriptor}")
        (target if folder else target.parent).mkdir(parents=True, exist_ok=True)
        if not folder:
            target.touch()
        _mount(f"/proc/self/fd/{descriptor}", str(target), None, _BIND | _RECURSIVE)
        _set_read_only(str(target), _READ_ONLY | (0 if path in _DEVICES else _NODEV))
        os.close(descriptor)
    for path, destination in links:
        os.symlink(destination, _TMP + path)
    os.mkdir(_TMP + _TMP)
    os.chown(_TMP + _TMP, _NOBODY, _NOBODY)
    os.chdir(_TMP)
    _checked(_libc.pivot_root(b".", b"."), "pivot_root")
    _checked(_libc.umount2(b".", _DETACH), "umount2")


def _shared() -> Iterator[str]:
    prefix = os.path.realpath(sys.base_prefix)
    within = any(prefix == path or prefix.startswith(f"{path}/") for path in _SYSTEM)
    for path in (*_SYSTEM, *_DEVICES, *(() if within else (prefix,))):
        if os.path.lexists(path):
            yield path


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    given = [text.encode() if text else None for text in (source, target, kind)]
    _checked(_libc.mount(*given, ctypes.c_ulong(flags), options.encode() or None), target)


def _set_read_only(target: str, attributes: int) -> None:
    given = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(given))
    path = target.encode()
    result = _libc.syscall(_MOUNT_SETATTR, _HERE, path, _AND_BELOW, ctypes.byref(given), size)
    _checked(result, target)


def _limit(seconds: int, memory: int) -> None:
    limits = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_NPROC: PROCESSES,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_FSIZE: FILE_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))


if __name__ == "__main__":
    sys.exit(main())
