"""Annotation files of published repositories: converted to common rows, and rows to an index.

- `tree`: the files of a folder, and which file belongs to a name;
- `reading`: JSON, CSV and lists, with error messages of one sentence;
- `families`: formats that several benchmarks share; other formats are in `workbench.data.benchmarks`;
- `assemble`: rows and files to an `Index`, with val taken out of train if a benchmark has none.

Pickles are never read, because unpickling can run code.
"""
