"""The workbench in a notebook: runs as a table, answers, two cells compared, figures.

    import workbench as wb
    wb.runs("mask_ratio")                        a polars frame, one row a run
    said = wb.answer("mask_ratio")               the answer, shown as the report shows it
    wb.compare(said.cell(video_ratio=0.9, text_ratio=0), said.baseline)
    wb.figure("mask_ratio", kind="sweep")        a plotly figure

`functions` contains the functions, `results` the types of their results. Everything is read from run
directories below `results`: the argument, `$WORKBENCH_RESULTS`, or `./results`. Requests that cannot be
fulfilled raise a `workbench.errors.UserError` of one sentence.
"""
