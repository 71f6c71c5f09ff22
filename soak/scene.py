"""One command in a folder of its own, to which one fault happens."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from soak.jobs import OUTPUT, Job
from soak.warm import Command


class Scene:
    """undisturbed: seconds that the command takes. bytes_needed: of its output."""

    def __init__(
        self,
        job: Job,
        material: Path,
        folder: Path,
        chooser: random.Random,
        undisturbed: float,
        bytes_needed: int,
    ) -> None:
        self.job, self.material, self.folder, self.chooser = job, material, folder, chooser
        self.undisturbed, self.bytes_needed = undisturbed, bytes_needed
        self._mounted = False
        folder.mkdir(parents=True)

    @property
    def output(self) -> Path:
        return self.folder / OUTPUT

    def start(self, prepare: Callable[[], None] | None = None, more: list[str] | None = None) -> Command:
        return Command([*self.job.arguments, *(more or [])], self.folder, prepare)

    def moment(self) -> float:
        """Seconds from the start, anywhere within the run."""
        return self.chooser.random() * self.undisturbed

    def mount(self, options: str) -> None:
        self.output.mkdir()
        _mount("-t", "tmpfs", "-o", options, "tmpfs", str(self.output))
        self._mounted = True

    def remount(self, options: str) -> None:
        _mount("-o", f"remount,{options}", str(self.output))

    def close(self) -> None:
        if self._mounted:
            subprocess.run(["umount", "--lazy", str(self.output)], check=True)
        shutil.rmtree(self.folder)


def can_mount(folder: Path) -> bool:
    """Whether this process may mount a file system in memory."""
    place = folder / "mount"
    place.mkdir(parents=True, exist_ok=True)
    try:
        _mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place))
    except (OSError, subprocess.CalledProcessError):
        return False
    subprocess.run(["umount", str(place)], check=True)
    return True


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)
