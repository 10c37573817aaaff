"""The command `sekring`: one file per subcommand."""
