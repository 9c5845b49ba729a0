"""One answer of several studies, in which the study is an axis: `studies`."""
