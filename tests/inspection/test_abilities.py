"""What recipes are able to do is read from their source as their classes have it."""

import subprocess
import sys

import pytest
from small import recipe_names, recipes_with

from workbench.inspection import abilities
from workbench.inspection.abilities import able

METHODS = ("reconstruct", "generate", "answer", "match", "embed_video", "embed_text", "align", "nothing")


@pytest.mark.parametrize("method", METHODS)
def test_the_source_says_what_the_classes_have(method):
    assert able(method) == recipes_with(method)


def test_several_methods_are_all_needed():
    assert able("embed_video", "match") == recipes_with("embed_video", "match")
    assert able("embed_video", "nothing") == []
    assert able() == recipe_names()


def test_a_class_of_the_same_file_counts_and_a_foreign_one_does_not(tmp_path, monkeypatch):
    (tmp_path / "workbench/recipes").mkdir(parents=True)
    (tmp_path / "workbench/recipes/own.py").write_text(
        "from json import JSONDecoder as D\n"
        "from workbench.other import Base as B\n"
        "class Near(B):\n    def here(self): ...\n"
        "class Recipe(Near, D):\n    def own(self): ...\n"
    )
    (tmp_path / "workbench/other.py").write_text("class Base:\n    def far(self): ...\n")
    (tmp_path / "workbench/recipes/empty.py").write_text('"""Nothing yet."""\n')
    monkeypatch.setattr(abilities, "ROOT", tmp_path)
    monkeypatch.setattr("workbench.recipes.names", lambda: ["empty", "own"])
    assert able("here", "own", "far") == ["own"]
    assert able("decode") == []


def test_asking_loads_no_torch():
    use = "from workbench.inspection.abilities import able; able('match')"
    code = f"import sys; {use}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
