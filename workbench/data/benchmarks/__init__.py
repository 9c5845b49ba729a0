"""Published benchmarks, one module each: the annotation files that are read, and the protocols.

A module is a data set as defined in `workbench.data`. Beside `index` and `SOURCE` it may have `PROTOCOLS`,
suffix of the name -> the protocol in words: `7k` of `msrvtt` is the data set `msrvtt-7k`, and the empty
suffix is `msrvtt` itself. Names of data are part of the names of metrics, so that no two protocols share one.
"""
