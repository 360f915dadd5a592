"""The Python API: what the commands do, as functions of plain values. `expander.search` is `jobs.search`.

Errors are exceptions of `expander.errors` with the same one line that the commands print.
"""
