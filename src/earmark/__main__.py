"""``python -m earmark``: the command line, for launchers that start modules, such as `torchrun -m earmark`."""

from earmark.cli.main import run

if __name__ == "__main__":
    run()
