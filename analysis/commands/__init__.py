"""The subcommands of `value-retention`, one file each."""
