"""Writes the pages of `docs/` that follow from the code: `make docs`.

`pages` names each page and its author, one module a page; `markdown` has the few forms they
share. Everything is read from the code itself, from settings, commands, routes, metrics and the
law, so that a page can't say what is not so. `make check` refuses a page that is out of date.
"""
