"""The files of a source, of any container, as rows."""
