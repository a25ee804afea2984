"""Wall clocks of single nodes, set while they run; this machine's own clock is never touched.

    change `clock NODE 3600` ──▶ FOLDER/NODE.clock, mapped into NODE ──▶ what it takes for the time

Only the time of day is false there, as on a computer whose clock somebody sets: the monotonic clock
and all that waits stay right. (libfaketime 0.9.10 slows a node's threads six times down, and makes
Python's `sleep` fail.) What does it is a page of C, compiled when a lab file says `clocks = true`.
"""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

from edgeflow.errors import LabError
from edgeflow.lab import command
from edgeflow.lab.record import FOLDER

VARIABLE = "EDGEFLOW_LAB_CLOCK"
COMPILERS = ("cc", "gcc", "clang")
SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead_ns;

__attribute__((constructor)) static void look(void) {
    const char *path = getenv("EDGEFLOW_LAB_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof *ahead_ns, PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) ahead_ns = page;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*next)(clockid_t, struct timespec *);
    if (!next) next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = next(clock, now);
    if (!failed && ahead_ns && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = now->tv_sec * INT64_C(1000000000) + now->tv_nsec + *ahead_ns;
        now->tv_sec = ns / INT64_C(1000000000);
        now->tv_nsec = ns % INT64_C(1000000000);
    }
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    int failed = clock_gettime(CLOCK_REALTIME, &found);
    (void)zone;
    *now = (struct timeval){found.tv_sec, found.tv_nsec / 1000};
    return failed;
}

time_t time(time_t *kept) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (kept) *kept = found.tv_sec;
    return found.tv_sec;
}
"""


def make(folder: Path = FOLDER) -> Path:
    """The library, compiled. LabError where there is no compiler."""
    compiler = need_compiler()
    source, made = folder / "clock.c", folder / "clock.so"
    source.write_text(SOURCE, encoding="utf-8")
    command.run(compiler, "-shared", "-fPIC", "-O2", "-o", str(made), str(source), "-ldl")
    return made


def need_compiler() -> str:
    """A C compiler; LabError, with the cure, where there is none."""
    for name in COMPILERS:
        if found := shutil.which(name):
            return found
    raise LabError("this lab's clocks can be set, which takes a C compiler: apt-get install gcc")


def environment(node: str, folder: Path = FOLDER) -> dict[str, str]:
    """What a node is started with, so that its clock can be set; it is as far off as it was."""
    if not _file(node, folder).exists():
        shift(node, 0.0, folder)
    return {"LD_PRELOAD": str(folder / "clock.so"), VARIABLE: str(_file(node, folder))}


def shift(node: str, seconds: float, folder: Path = FOLDER) -> None:
    """From now on the node's clock is so far ahead of this machine's."""
    ahead = struct.pack("=q", round(seconds * 1e9))
    with _file(node, folder).open("r+b" if _file(node, folder).exists() else "wb") as file:
        file.write(ahead)


def _file(node: str, folder: Path) -> Path:
    return folder / f"{node}.clock"
