"""`python -m isotherm` is the `isotherm` command."""

from isotherm.cli import main

main()
