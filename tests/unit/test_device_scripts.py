"""Scripts of the device, run by this host's shell."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

FILES = Path(__file__).parents[2] / "layers/meta-imagebuilder/recipes-core/imagebuilder-init/files"
INFERD_FILES = FILES.parents[2] / "recipes-inference/inferd/files"
LIST = "usr/share/imagebuilder/sha256sums"
CONTENTS = {"etc/hostname": "bell\n", "usr/bin/inferd": "program", "usr/lib/a b.so": "library"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    lines = []
    for name, text in CONTENTS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        lines.append(f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n")
    path = tmp_path / LIST
    path.parent.mkdir(parents=True)
    path.write_text("".join(lines))
    return tmp_path


def check_files(*words: str | Path) -> tuple[int, list[str]]:
    done = subprocess.run(
        ["sh", FILES / "check-files", *words], capture_output=True, text=True, check=False,
        env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    return done.returncode, done.stdout.splitlines()


def test_a_root_as_it_was_built(root: Path) -> None:
    assert check_files(root) == (0, [])


def test_files_that_were_changed_or_are_gone(root: Path) -> None:
    (root / "etc/hostname").write_text("ball\n")
    (root / "usr/lib/a b.so").unlink()
    assert check_files(root) == (1, ["/etc/hostname", "/usr/lib/a b.so"])


def test_only_paths_that_begin_as_asked(root: Path) -> None:
    (root / "etc/hostname").write_text("ball\n")
    (root / "usr/bin/inferd").write_text("other")
    assert check_files(root, "usr/bin/|usr/libexec/") == (1, ["/usr/bin/inferd"])
    assert check_files(root, "bin/|lib/") == (0, [])


@pytest.mark.parametrize("text", ["", "\0" * 90, None])
def test_a_damaged_list_is_damage(root: Path, text: str | None) -> None:
    if text is None:
        (root / LIST).unlink()
    else:
        (root / LIST).write_text(text)
    assert check_files(root) == (1, [f"/{LIST}"])


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    code, lines = check_files(tmp_path / "none")
    assert code != 0
    assert lines == []


PROGRAM = """\
#!/bin/sh
echo "${0##*/} $*" >>"${0%/*}/asked"
"""


def test_drivers_of_packages_are_loaded(tmp_path: Path) -> None:
    """KERNEL_MODULE_AUTOLOAD of a driver's recipe is a file that only systemd reads by itself."""
    for name in ("hostname", "ip", "modprobe"):
        (tmp_path / name).write_text(PROGRAM)
        (tmp_path / name).chmod(0o755)
    text = FILES.joinpath("rc").read_text("utf-8")
    for folder in ("/run", "/data", "/etc"):
        text = text.replace(f"{folder}/", f"{tmp_path}{folder}/")
        (tmp_path / folder.strip("/")).mkdir()
    load = tmp_path / "etc" / "modules-load.d"
    load.mkdir()
    start = [f"hostname -F {tmp_path}/etc/hostname", "ip link set lo up"]
    for files, asked in (
        ({}, []),
        ({"apex": "apex\n", "gasket": "# first\ngasket\n"}, ["modprobe -a apex gasket"]),
    ):
        for name, content in files.items():
            (load / f"{name}.conf").write_text(content)
        (tmp_path / "asked").unlink(missing_ok=True)
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True,
                              env=environment)  # fmt: skip
        assert (done.stdout, done.stderr) == ("imagebuilder: services\n", "")
        assert (tmp_path / "asked").read_text("utf-8").splitlines() == [*start, *asked]


def test_a_server_is_given_the_nodes_that_are_there(tmp_path: Path) -> None:
    """By root, at each start, for a driver may be late; then all is as without an accelerator."""
    for name in ("chown", "chmod", "su", "sleep"):
        (tmp_path / name).write_text(PROGRAM)
        (tmp_path / name).chmod(0o755)
    node = tmp_path / "apex_0"
    node.touch()
    text = INFERD_FILES.joinpath("serve").read_text("utf-8")
    text = text.replace("/run/inferd", f"{tmp_path}").replace("/etc/", f"{tmp_path}/")
    text = text.replace("/usr/libexec/imagebuilder/", "true ")
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    start = f"su -s /bin/sh inferd -c exec /usr/bin/inferd serve --ready-file {tmp_path}/ready"
    given = [f"chown root:inferd {node}", f"chmod 660 {node}"]
    for nodes, asked in ((None, []), (f"{tmp_path}/apex_1\n{node}\n", given)):
        if nodes is not None:
            (tmp_path / "inferd.devices").write_text(nodes)
        (tmp_path / "asked").unlink(missing_ok=True)
        (tmp_path / "starts").unlink(missing_ok=True)
        subprocess.run(["sh", "-c", text], check=True, env=environment)
        assert (tmp_path / "asked").read_text("utf-8").splitlines() == [*asked, start]


E2FSCK = """\
#!/bin/sh
echo "$1" >>"$0.asked"
case $1 in
-p) echo "$PREEN_SAYS"; exit "$PREEN" ;;
-fy) echo "mending"; exit "$FORCED" ;;
esac
"""
FOUND = """\
data: Inode 12 has a bad checksum.

data: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.
	(i.e., without -a or -p options)
"""


@pytest.mark.parametrize(
    ("preen", "forced", "asked", "said"),
    [
        (0, 0, "-p", []),
        (1, 0, "-p", ["repaired: data"]),
        (4, 1, "-p -fy", ["damaged: data: data: Inode 12 has a bad checksum. ",
                          "repaired: data"]),
        (4, 8, "-p -fy", ["damaged: data: data: Inode 12 has a bad checksum. ",
                          "damaged: data: e2fsck ended with exit code 8"]),
    ],
)  # fmt: skip
def test_what_a_check_of_data_says(
    tmp_path: Path, preen: int, forced: int, asked: str, said: list[str]
) -> None:
    """What is safe to mend first, by e2fsck's exit codes (its manual page)."""
    program = tmp_path / "e2fsck"
    program.write_text(E2FSCK)
    program.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PREEN": str(preen), "FORCED": str(forced), "PREEN_SAYS": FOUND if preen > 1 else "clean",
    }  # fmt: skip
    words = ["sh", "-c", '. "$0"; repair /dev/vda4', FILES / "storage"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines() == [f"imagebuilder: {line}" for line in said]
    assert done.stderr == ""
    assert program.with_suffix(".asked").read_text().split() == asked.split()


@pytest.mark.parametrize(
    ("selftest", "said"),
    [
        (
            "echo digits: 0 of 16; exit 1",
            "a model no longer gives its golden outputs: digits: 0 of 16",
        ),
        ("echo su: cannot set groups >&2; exit 1", "su: cannot set groups"),
        ("echo inferd: no bundle >&2; exit 2", "no bundle"),
        ("exit 1", "exit code 1"),
    ],
)
def test_why_the_server_ended(tmp_path: Path, selftest: str, said: str) -> None:
    su = tmp_path / "su"
    su.write_text(f"#!/bin/sh\n{selftest}\n")
    su.chmod(0o755)
    text = INFERD_FILES.joinpath("explain").read_text("utf-8")
    text = text.replace("/run/inferd/", f"{tmp_path}/")
    text = text.replace("/usr/libexec/imagebuilder/check-files", "true")
    done = subprocess.run(
        ["sh", "-c", text, "explain", "1"], capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.stdout == f"imagebuilder: failed: inferd: {said}\n"
