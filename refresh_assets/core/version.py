"""The version of the figures.

Here: one number, raised whenever the same inputs would give other figures than before; the CHANGELOG then says which. Not
here: the version of the package (pyproject.toml)."""

CODE_VERSION = "1"
