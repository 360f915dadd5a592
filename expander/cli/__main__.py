"""`python -m expander.cli`: the command line without the installed script."""

from expander.cli.main import main

main()
