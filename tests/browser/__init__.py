"""The desk in a real browser, on a real court. `make browser` installs what this needs."""
