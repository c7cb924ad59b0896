"""The documentation: begin with `docs/README.md`. `generate` writes what follows from the code."""
