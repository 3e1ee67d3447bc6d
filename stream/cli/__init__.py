"""The command line: a thin module for each command, its heavy imports inside the function."""
