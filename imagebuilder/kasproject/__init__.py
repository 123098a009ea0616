"""The generated kas project: its files from a build, and their way into a folder."""
