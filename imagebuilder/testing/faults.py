"""Faults for tests: of the disk, of the server, of clock, network and memory.

Those of the disk need the target off, the others need it on; all raise `BuildError` when the fault
cannot be made. None of them judges: a test asks afterwards whether the target is as it should be.
"""

from __future__ import annotations

import random
import shlex

from imagebuilder import device
from imagebuilder.devicefiles import SERVER
from imagebuilder.errors import BuildError
from imagebuilder.target.partitions import Place, read_partitions
from imagebuilder.testing.target import Target

BLOCK = 4096
SWAP = "/run/swapped"
FILL = f"{device.DATA_PATH}/fill"


def corrupt(
    target: Target, partition: str, *, blocks: int = 8, seed: int = 0, spare: bytes | None = None
) -> list[int]:
    """Write random bytes over random blocks of 4 KiB of a partition that hold anything.

    Blocks that begin with `spare` are left as they are. Gives the offsets in the partition.
    """
    place = _place(target, partition)
    chance = random.Random(seed)
    with target.disk.open("r+b") as disk:
        disk.seek(place.start)
        contents = disk.read(place.size)
        used = [
            at
            for at in range(0, place.size, BLOCK)
            if any(contents[at : at + BLOCK]) and not (spare and contents.startswith(spare, at))
        ]
        hit = sorted(chance.sample(used, min(blocks, len(used))))
        for at in hit:
            disk.seek(place.start + at)
            disk.write(chance.randbytes(BLOCK))
    return hit


def damage(target: Target, partition: str, contents: bytes) -> int:
    """Flip one bit in a file with these contents, on a partition that is not compressed.

    That is the one of the models. Gives the byte's offset in the partition.
    """
    # What does not fill a block lies elsewhere.
    contents = contents[: len(contents) // BLOCK * BLOCK] or contents
    place = _place(target, partition)
    with target.disk.open("r+b") as disk:
        disk.seek(place.start)
        at = disk.read(place.size).find(contents)
        if at < 0 or not contents:
            raise BuildError(f"{partition} does not hold these contents")
        at += len(contents) // 2
        disk.seek(place.start + at)
        byte = disk.read(1)[0]
        disk.seek(place.start + at)
        disk.write(bytes([byte ^ 1]))
    return at


def overwrite(target: Target, partition: str, offset: int, data: bytes) -> None:
    """Write bytes at an offset of a partition."""
    place = _place(target, partition)
    if offset + len(data) > place.size:
        raise BuildError(f"{partition} has {place.size} bytes only")
    with target.disk.open("r+b") as disk:
        disk.seek(place.start + offset)
        disk.write(data)


def repair(target: Target, partition: str) -> None:
    """Give a partition the contents that it was built with, as flashing it again would."""
    place = _place(target, partition)
    with target.artifacts.path("disk").open("rb") as source, target.disk.open("r+b") as disk:
        source.seek(place.start)
        disk.seek(place.start)
        disk.write(source.read(place.size))


def fill(target: Target, path: str = FILL) -> int:
    """Write zeros to a file until its file system is full; gives how many bytes went in."""
    target.run(f"dd if=/dev/zero of={shlex.quote(path)} bs=65536 2>/dev/null")
    target.run(f"dd if=/dev/zero bs=1 count=65536 2>/dev/null >>{shlex.quote(path)}; sync")
    if target.run(f"echo x > {shlex.quote(path + '.more')}").exit_code == 0:
        raise BuildError(f"the file system of {path} is not full")
    return int(target.run(f"stat -c %s {shlex.quote(path)}").stdout)


def kill(target: Target, service: str = SERVER, signal: str = "KILL") -> None:
    """Send a signal to a service, and wait until another process has taken its place."""
    before = _pid(target, service)
    target.run(f"kill -{signal} {before}")
    wait_for_another(target, service, before)


def out_of_memory(target: Target, service: str = SERVER, timeout: float = 120.0) -> str:
    """Take all memory, so that the kernel kills a service; gives the kernel's words.

    The service is the first that it picks; then it kills what took the memory.
    """
    before = _pid(target, service)
    target.run(f"echo 1000 > /proc/{before}/oom_score_adj")
    taken = "awk '/^MemAvailable:/ {print $2 + 16384}' /proc/meminfo"
    target.run(f"dd if=/dev/zero of=/dev/null bs=$({taken})k count=1 2>/dev/null", timeout)
    wait_for_another(target, service, before, timeout)
    said = target.run(f"dmesg | grep -E 'Killed process {before} '").stdout.decode().strip()
    if not said:
        raise BuildError(f"the kernel did not kill {service} for want of memory")
    return said


def wait_for_another(target: Target, service: str, before: int, timeout: float = 60.0) -> None:
    """Wait until a service is ready whose process is not `before`."""
    # Until it runs again, the file that tells of its readiness may be that of the old process.
    other = f'set -- $(pidof {service}) && [ -n "$1" ] && [ $1 != {before} ]'
    target.wait(lambda: target.run(other).exit_code == 0, f"no other {service} runs", timeout)
    target.wait_for_service(service, timeout)


def set_clock(target: Target, seconds: int) -> None:
    """Set the target's clock to a number of seconds since 1970."""
    done = target.run(f"date -s @{seconds} >/dev/null && date +%s")
    text = done.stdout.decode().strip()
    if done.exit_code != 0 or not text.isdigit() or not 0 <= int(text) - seconds < 60:
        why = done.stderr.decode("utf-8", "replace").strip() or f"it shows {text or 'nothing'}"
        raise BuildError(f"the clock cannot be set to {seconds}: {why}")


def set_link(target: Target, *, up: bool) -> None:
    """Take the target's network cable out, or put it in."""
    target.monitor("set_link", name="net", up=up)


def slow_disk(target: Target, bytes_per_second: int) -> None:
    """Limit reading and writing together; 0 ends the limit."""
    none = dict.fromkeys(("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
    target.monitor("block_set_io_throttle", device="disk", bps=bytes_per_second, **none)


def swap(target: Target, model: str, file: str) -> None:
    """Put a copy of a bundle with one damaged byte in its place, and have inferd reload.

    What was mounted before shows again after `swap_back`.
    """
    bundle, copy = f"{device.MODELS_PATH}/{model}", f"{SWAP}/{model}"
    command = (
        f"mkdir -p {SWAP} && cp -r {bundle} {copy} && "
        f"at=$(($(stat -c %s {copy}/{file}) / 2)) && "
        f"byte=$(od -An -tu1 -j $at -N 1 {copy}/{file}) && "
        f'printf "\\\\$(printf %03o $((byte ^ 1)))" | '
        f"dd of={copy}/{file} bs=1 seek=$at conv=notrunc 2>/dev/null && "
        f"mount --bind {copy} {bundle} && kill -HUP $(pidof {SERVER})"
    )
    _must(target, command, f"{model} cannot be swapped")


def swap_back(target: Target, model: str) -> None:
    """Undo `swap`, and have inferd reload."""
    bundle, copy = f"{device.MODELS_PATH}/{model}", f"{SWAP}/{model}"
    command = f"umount {bundle} && rm -r {copy} && kill -HUP $(pidof {SERVER})"
    _must(target, command, f"{model} cannot be put back")


def damaged_files(target: Target) -> list[str]:
    """Files of the root that are not as they were built, by reading all of them."""
    return target.run(f"{device.CHECK_PATH}", 300).stdout.decode().split()


def _must(target: Target, command: str, what: str) -> None:
    done = target.run(command)
    if done.exit_code != 0:
        raise BuildError(f"{what}: {done.stderr.decode('utf-8', 'replace').strip()}")


def _pid(target: Target, service: str) -> int:
    found = target.run(f"pidof {service}").stdout.split()
    if not found:
        raise BuildError(f"{service} does not run")
    return int(found[0])


def _place(target: Target, partition: str) -> Place:
    places = read_partitions(target.disk)
    if partition not in places:
        raise BuildError(f"no partition {partition}: there are {', '.join(places)}")
    return places[partition]
