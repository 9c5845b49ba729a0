"""Published benchmarks, one a module: which of their annotation files are read, and under which protocol.

A module is a data set as `workbench.data` says. Beside `index` and `SOURCE` it may have `PROTOCOLS`, a
name's ending -> the protocol in words: `7k` of `msrvtt` is the data set `msrvtt-7k`, and the empty one
`msrvtt` itself. Names of data stand in the names of metrics, so that no two protocols share one.
"""
