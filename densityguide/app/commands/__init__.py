"""What the command line does, one file per idea; `app.cli` only reads the options."""
