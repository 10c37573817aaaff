"""Builds the images without an engine: every step of the Dockerfile, in layers over this machine.

Needs root, and a kernel with overlayfs. This machine's own root file system stands in for the base
image, with this Python at /usr/local, so nothing is learnt of what the base image has or lacks. All
else is as the Dockerfile says, at the paths that it says. It happens in a mount namespace of its
own and on a tmpfs, and goes with the process.
"""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.dockerfile import REPOSITORY, Stage, Step, environment, lineage, read_stages

__all__ = ["can_build", "script_of"]

#: Where the layers are; a mount point, on which a tmpfs is put.
_WORK = "$WORK"

_PATH = "/usr/local/bin:/usr/local/sbin:/usr/bin:/bin:/usr/sbin:/sbin"


def can_build() -> bool:
    """Tell whether this process may make namespaces, and mount overlays in them."""
    unshare = shutil.which("unshare")
    probe = (
        "mount -t tmpfs tmpfs /mnt && mkdir /mnt/up /mnt/work /mnt/root && mount -t overlay overlay"
        " -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work /mnt/root"
    )
    if unshare is None:
        return False
    done = subprocess.run(
        [unshare, "--mount", "sh", "-ec", probe], capture_output=True, check=False
    )
    return done.returncode == 0


def script_of(target: str, work: Path, variables: dict[str, str]) -> str:
    """Return a script that builds `target` and then runs its command on a read-only root."""
    stages = read_stages()
    needed = [name for name in stages if name in _reached(stages, target)]
    lines = ["set -eu", f"WORK={shlex.quote(str(work))}", 'mount -t tmpfs tmpfs "$WORK"']
    for name in needed:
        lines += _stage(stages, name)
    steps = [step for stage in lineage(stages, target) for step in stage.steps]
    last = {step.name: step for step in steps}
    command = shlex.join([*last["ENTRYPOINT"].exec_form, *last["CMD"].exec_form])
    root, user = f"{_WORK}/root-{target}", last["USER"].text
    exports = _exports(stages, target, variables)
    inside = shlex.quote(f"cd {_folder(stages, target)}; exec {command}")
    lines += [
        f'mount -t tmpfs -o mode=1777,size=64m tmpfs "{root}/tmp"',  # noqa: S108 - the image's
        f'mount -o remount,ro "{root}"',
        f'exec chroot --userspec={user} --groups= "{root}" env -i {exports} sh -c {inside}',
    ]
    return "\n".join(lines)


def _reached(stages: dict[str, Stage], target: str) -> set[str]:
    found: set[str] = set()
    waiting = [target]
    while waiting:
        for stage in lineage(stages, waiting.pop()):
            if stage.name not in found:
                found.add(stage.name)
                waiting += [one.flags["from"] for one in stage.all("COPY") if "from" in one.flags]
    return found


def _stage(stages: dict[str, Stage], name: str) -> list[str]:
    below = [f"{_WORK}/up-{one.name}" for one in lineage(stages, name)[:-1]]
    lower = ":".join([*below[::-1], "/"])
    upper, work, root = (f"{_WORK}/{kind}-{name}" for kind in ("up", "work", "root"))
    lines = [
        f'mkdir "{upper}" "{work}" "{root}"',
        f'mount -t overlay overlay -o "lowerdir={lower},upperdir={upper},workdir={work}" "{root}"',
        *(f'mount --rbind /{folder} "{root}/{folder}"' for folder in ("dev", "proc")),
        # Not to be written: it is this machine's.
        f'mount --bind {shlex.quote(sys.base_prefix)} "{root}/usr/local"',
        f'mount -o bind,remount,ro "{root}/usr/local"',
    ]
    folder = _folder(stages, name)
    lines.append(f'mkdir -p "{root}{folder}"')
    for step in stages[name].steps:
        if step.name == "RUN":
            lines.append(
                f'chroot "{root}" /usr/bin/env {_exports(stages, name, {})}'
                f" sh -ec {shlex.quote(f'cd {folder}; {step.text}')} >&2"
            )
        elif step.name == "COPY":
            lines += _copy(step, root, folder)
    return lines


def _copy(step: Step, root: str, folder: str) -> list[str]:
    *sources, target = step.words
    start = f"{_WORK}/root-{step.flags['from']}" if "from" in step.flags else f"{REPOSITORY}/"
    there = f"{root}{target}" if target.startswith("/") else f"{root}{folder}/{target}"
    made = f'mkdir -p "$(dirname "{there}x")"'
    return [made, *(_copied(f"{start}{source}", there) for source in sources)]


def _copied(source: str, there: str) -> str:
    # Of a folder, COPY takes what is in it.
    folder = f'mkdir -p "{there}" && cp -a "{source}/." "{there}/"'
    return f'if [ -d "{source}" ]; then {folder}; else cp -a "{source}" "{there}"; fi'


def _folder(stages: dict[str, Stage], name: str) -> str:
    places = [step.text for stage in lineage(stages, name) for step in stage.all("WORKDIR")]
    return places[-1] if places else "/"


def _exports(stages: dict[str, Stage], name: str, more: dict[str, str]) -> str:
    # Where the base image has its libpython the loader looks anyway.
    variables = (
        {"PATH": _PATH, "LD_LIBRARY_PATH": "/usr/local/lib"} | environment(stages, name) | more
    )
    variables["PATH"] = variables["PATH"].replace("$PATH", _PATH)
    return shlex.join(f"{key}={value}" for key, value in variables.items())
