"""The dashboard: `streamlit run app/dashboard.py [-- RESULTS]`, by default `$WORKBENCH_RESULTS` or `results`.

Its settings are in `app/.streamlit/config.toml`, which counts wherever it is started: it listens on this
machine only. It reads run directories only, never the tracker, and loads no torch; it only writes
`notes.json`, users' notes on runs and comparisons, which MLflow then receives as tags. If runs were sent to a
tracking server, their pages link to its UI; `$WORKBENCH_MLFLOW_UI` is the address of a UI for a store in a
file.

A view is one file in `app/views/`, which is found automatically:

    TITLE = "Effects"        # name in the navigation
    ORDER = 20               # optional: order there, small first (default 100)
    FOLLOWS = False          # optional: whether it is drawn anew when runs begin or end; else the page says
                             # that its numbers are older (default)

    def render(runs: Runs) -> None: ...

Its name in the address is the name of the file: `?view=effects&study=mask_ratio`.

`runs` (`app.runs.Runs`) gives access to the data: the chosen study, its run table, `study.json` as `asked`
(None without one), `answer()`, `curves()`, `directory()`. `render` is called only when there is a study.

A comparison lives in the address. Views ask for each choice with `app.address`:

    metric = address.choose("metric", "Metric", {name: label, ...}, default=runs.metric)
    cells = address.choose_many("cells", "Cells", {key: label, ...}, default=[...])

(also `address.text` and `address.number`), which checks the address against the options (else one visible
sentence and the default), shows the widget, and writes back what is chosen; `pin=True` writes the default
too, where it moves with the data. A part that refreshes by itself ends with `address.commit()`, which writes
what was chosen into the browser's address. Shared choices (metric, baseline, group-by, error bar, clock,
cells) are in `app.widgets`, so that the same parameter means the same in every view; so are `figure` and
`table`, with their downloads; `app.markdown.escaped` is for names that go into Markdown.
`st.text` and `st.dataframe` take names as they are. `app.clips` chooses and plays clips of the prepared data,
`app.frames` draws their frames; `app.marked_cells` shows pictures and tables whose cells can be marked;
`app.helper.ask` asks a helper process for what needs torch
(`workbench.inspection.on_demand`). Numbers and figures come from `workbench`, the same functions as in the
report.
"""
