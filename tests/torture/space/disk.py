"""Small file systems, in a mount namespace of our own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

from skips import left_out  # noqa: E402

# Set in the process that has the namespace.
MARK = "SPACE_NAMESPACE"
_mounted: list[Path] = []


def in_namespace() -> bool:
    return MARK in os.environ


def in_a_namespace_of_our_own(arguments: list[str]) -> int:
    """Runs this program again where it may mount; its exit code. As root without a user namespace, so that
    files can be mounted as disks."""
    ways = [["unshare", "-m"]] if os.geteuid() == 0 else []
    ways.append(["unshare", "-U", "-r", "-m"])
    for way in ways:
        if subprocess.run([*way, "true"], capture_output=True).returncode == 0:
            command = [*way, sys.executable, *arguments]
            return subprocess.run(command, env=os.environ | {MARK: "1"}).returncode
    print(left_out("space", "no right to a mount namespace of our own"))
    return 0


def mount(home: Path, size: int, inodes: int | None = None) -> tuple[Path, str]:
    """A file system of so many bytes beneath `home`, and its kind."""
    place = home / "mount"
    place.mkdir()
    image = home / "image"
    with image.open("wb") as file:
        file.truncate(size)
    count = ["-N", str(inodes)] if inodes else []
    made = _run(["mkfs.ext4", "-q", "-F", "-m", "0", *count, str(image)])
    if made and _run(["mount", "-o", "loop,errors=remount-ro", str(image), str(place)]):
        kind = "ext4"
    else:
        limit = f",nr_inodes={inodes}" if inodes else ""
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700{limit}", "small", str(place)], check=True)
        kind = "tmpfs"
    _mounted.append(place)
    return place, kind


def unmount_all() -> None:
    while _mounted:
        subprocess.run(["umount", "-l", str(_mounted.pop())], check=False)


def free(place: Path) -> int:
    stat = os.statvfs(place)
    return stat.f_bavail * stat.f_frsize


class Ballast:
    """A file that takes what is to be taken."""

    def __init__(self, place: Path) -> None:
        self.path = place / "ballast"
        self.drop()

    def leave(self, left: int) -> int:
        """Grows until no more than `left` bytes are free, as near as the file system lets it; what is free."""
        with self.path.open("ab") as file:
            for step in (1 << 20, 1 << 16, 1 << 12):
                while (now := free(self.path.parent)) - left >= step:
                    wanted = (now - left) // step * step
                    try:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, wanted)
                    except OSError:
                        break
        return free(self.path.parent)

    def drop(self) -> None:
        self.path.write_bytes(b"")


def _run(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
