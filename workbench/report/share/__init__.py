"""A self-contained page: `python -m workbench.report STUDY --share FILE.html`.

`page` puts it together; `markup` turns the words of the report into HTML and back, so that `--check` reads
the page again; `media` finds the clips and masks and makes them part of the page.
"""
