"""The command line: `imagebuilder VERB`."""

from __future__ import annotations

import importlib
import signal
import sys

import click

from imagebuilder import __version__
from imagebuilder.cli.app import App, shared_options
from imagebuilder.errors import EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED, ImagebuilderError

COMMANDS = {
    "init": ("init", "Write a commented firmware.yaml."),
    "list": ("listing", "Show machines, models, runtimes or series."),
    "validate": ("validate", "Find all problems of a manifest at once."),
    "plan": ("plan", "Show the steps of a build and why they are not reused."),
    "lock": ("lock", "Pin everything that a build consumes."),
    "generate": ("generate", "Write the plain kas project."),
    "build": ("build", "Build the image."),
    "run": ("run", "Boot the image in QEMU, console here."),
    "test": ("test", "Boot the image in QEMU and test it."),
    "conformance": ("conformance", "Show which ONNX operators the image's runtime can run."),
    "flash": ("flash", "Write the image to a device."),
    "model": ("model", "Inspect, build and compare models."),
    "inspect": ("inspect", "Show what is in an image or a bundle, or how two differ."),
    "export": ("export", "Write out evidence, a mirror or the schemas of the file formats."),
    "doctor": ("doctor", "Show what this host lacks, and the command that mends it."),
    "clean": ("clean", "Remove what was made here."),
}


LOCAL = frozenset({"init", "list", "inspect", "clean", "flash", "schema", "evidence", "compare"})
"""Commands that never fetch: their `--help` leaves out the options for it."""


class Verbs(click.Group):
    """Imports a command's module only when it is called."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"imagebuilder.cli.{COMMANDS[name][0]}")
        command: click.Command = module.command
        leaves = command.commands if isinstance(command, click.Group) else {name: command}
        for word, leaf in leaves.items():
            if not any(option.name == "offline" for option in leaf.params):
                leaf.params.extend(shared_options(local=word in LOCAL))
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="MANIFEST is ./firmware.yaml unless named. `imagebuilder VERB --help` tells more.",
)
@click.version_option(__version__, prog_name="imagebuilder")
@click.pass_context
def imagebuilder(context: click.Context) -> None:
    """One manifest in, verified AI firmware out."""
    context.obj = App()


def main() -> None:
    """The entry point: runs a command and turns every outcome into an exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # As an interrupt from the keyboard: nothing that was started is left behind.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command line; gives the exit code: 0, 1 failed, 2 wrong input, 130 interrupted."""
    try:
        result = imagebuilder.main(arguments, prog_name="imagebuilder", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return EXIT_INPUT
    except ImagebuilderError as error:
        return _report(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _report("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output left; Python would complain again while closing stdout.
        sys.stdout = None
        return EXIT_FAILED


def _report(text: str, code: int) -> int:
    click.echo(f"{click.style('error', fg='red')}: {text}", err=True, color=_color())
    return code


def _color() -> bool | None:
    import os

    return False if os.environ.get("NO_COLOR") else None
