"""Annotation files of other people's repositories, read into one kind of row, and rows made into an index.

- `tree`: what lies in a folder, and which file belongs to a name;
- `reading`: JSON, CSV and lists, with one sentence where something is wrong with them;
- `families`: the forms that several benchmarks share; each has its own in `workbench.data.benchmarks`;
- `assemble`: rows and files to an `Index`, with own val carved out of train where a benchmark has none.

Pickles are never read: unpickling runs what is in the file.
"""
