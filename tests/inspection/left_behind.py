"""What a finished run leaves behind, written in a moment: its configuration, tokenizer and weights."""

from small import FRAMES, SIZE

from workbench.tracking.run_dir import RunDir
from workbench.train import checkpoint
from workbench.train.session import recipe_class


def leave(path, config, vocabulary):
    """The run directory and its model, of random weights."""
    run = RunDir(path)
    run.create()
    run.write_config(config)
    run.write_json("environment.json", {"tokens_per_caption": vocabulary.length})
    vocabulary.tokenizer.save(str(run.file("tokenizer.json")))
    model = recipe_class(config)(config.recipe, frames=FRAMES, size=SIZE, vocabulary=vocabulary)
    checkpoint.finish(run.file("checkpoints"), model)
    return run, model.eval()
