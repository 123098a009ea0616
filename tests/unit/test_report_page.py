"""The HTML page and the Markdown: what they show, and that a guest's text is no markup."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from imagebuilder.report import Failure, MachineResult
from imagebuilder.report.baseline import compare
from imagebuilder.report.page import LINES, write_pages

BEFORE = {"boot": 1000, "m.inference": 100, "m.provider": "CPUExecutionProvider"}
NOW = {"boot": 1000, "m.inference": 102, "m.provider": "CPUExecutionProvider"}

FAILURES = (Failure("test_a[x|y]", "assert <i> in 'x'"), Failure("test_b", "qemuarm is off"),
            Failure("test_c", "qemuarm is off"),
            *(Failure(f"test_{n}", "") for n in range(9)))  # fmt: skip


class Reader(HTMLParser):
    """Collects the text, and every tag and attribute."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words += data


def results(folder: Path) -> list[tuple[MachineResult, Path]]:
    (folder / "good").mkdir()
    (folder / "bad").mkdir()
    (folder / "good" / "console.log").write_text("imagebuilder: root\nx\x1b[31m\n" * LINES)
    (folder / "bad" / "console.log").write_text(
        "<script>alert(1)</script>\nKernel panic - not syncing\nimagebuilder: failed: no partition"
    )
    good = MachineResult(
        "qemuarm64", "debian", "dev", "direct", ("m",), passed=3, seconds=4.2, figures=NOW,
        properties={"boot.root": "1.5", "boot.ready": "3.0", "m.max_abs": "1e-7"},
        changes=compare(BEFORE, NOW), compared=True,
    )  # fmt: skip
    bad = MachineResult("qemuarm", "debian", "dev", "direct", (), failed=1,
                        failures=FAILURES, error="no answer | <b>")  # fmt: skip
    return [(good, folder / "good"), (bad, folder / "bad")]


def test_the_page_shows_all_and_needs_no_other_file(tmp_path: Path) -> None:
    write_pages(results(tmp_path), "door <bell> 1", tmp_path)
    page = (tmp_path / "report.html").read_text()
    reader = Reader(page)
    assert "script" not in reader.tags
    assert reader.links == ["#qemuarm64", "#qemuarm"]
    for text in ("door <bell> 1", "<script>alert(1)</script>", "no answer | <b>", "test_a[x|y]",
                 "assert <i> in 'x'", "test_b, test_c: qemuarm is off",
                 "m.inference", "+2.00 %", "worse", "1.50 s", "m.max_abs"):  # fmt: skip
        assert text in reader.words, text
    assert '<span class="trouble">Kernel panic - not syncing</span>' in page
    assert '<span class="trouble">imagebuilder: failed: no partition</span>' in page
    assert page.count('<span class="marker">imagebuilder: root</span>') == LINES / 2
    assert "\x1b" not in page
    assert "margin-left: 50.00%; width: 50.00%" in page


def test_markdown_for_a_pull_request(tmp_path: Path) -> None:
    write_pages(results(tmp_path), "doorbell 1", tmp_path)
    lines = (tmp_path / "report.md").read_text().splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("| machine"))
    columns = lines[head].count("|")
    assert lines[head + 1].count("|") == columns
    assert all(lines[head + n].replace(r"\|", "").count("|") == columns for n in (2, 3))
    assert "- failed: `test_a[x|y]`: assert &lt;i> in 'x'" in lines
    assert "- failed: `test_b, test_c`: qemuarm is off" in lines
    assert "- failed: `test_0, test_1, test_2, test_3 and 5 more`" in lines
    assert "- worse: m.inference: 100 → 102 (+2.00 %)" in lines
    assert "| m.inference | 100 | 102 | +2.00 % | worse |" in lines
    assert not any("<b>" in line for line in lines[head : head + 4])


def test_a_boards_times_are_not_called_emulated(tmp_path: Path) -> None:
    tested = results(tmp_path)
    write_pages(tested, "bell", tmp_path)
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text()
        assert "Times are emulated" in text.replace("&#39;", "'")
        assert "Times are those of" not in text
    board = [(replace(result, target="ssh://root@x:22"), place) for result, place in tested]
    write_pages(board, "bell", tmp_path)
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text()
        assert "Times are those of ssh://root@x:22." in text
        assert "emulated" not in text
