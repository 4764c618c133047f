"""Entry point of the command `moedge` (also `python -m scenarios`)."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from scenarios.cli import app

    app(prog_name="moedge")


if __name__ == "__main__":
    main()
