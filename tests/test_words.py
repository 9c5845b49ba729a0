"""Further words of a tokenizer that is trained here: there when asked for, no trace of them when not."""

import pytest

from workbench.errors import UserError
from workbench.models.text import SPECIAL, TextConfig, Vocabulary, vocabulary
from workbench.serial import canonical, from_dict, to_dict

CAPTIONS = ["a red square moves left", "it is true that a blue moon grows on a plain wall", "green star"]
WORDS = ("true", "false", "[SEP]")


def test_further_words_follow_the_special_ones_and_shift_the_rest():
    plain, more = (vocabulary(CAPTIONS, TextConfig(words=w)) for w in ((), WORDS))
    assert [more.id(word) for word in (*SPECIAL, *WORDS)] == list(range(7))
    assert set(more.tokenizer.get_vocab()) == set(plain.tokenizer.get_vocab()) | set(WORDS)
    tokens = more.encode(["this is true"]).tokens[0].tolist()
    assert more.id("true") in tokens, "what is written in a caption is the same word"
    assert more.id("[SEP]") not in more.encode(["a [SEP] b"]).tokens, "no caption writes a mark"


def test_without_them_vocabulary_and_key_are_what_they_were():
    plain = vocabulary(CAPTIONS, TextConfig())
    letters = sorted(set("".join(CAPTIONS)) - {" "})
    start = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    assert [plain.id(word) for word in start] == list(range(len(start)))
    assert "words" not in canonical(TextConfig())
    assert canonical(TextConfig(words=WORDS))["words"] == list(WORDS)


def test_it_survives_a_file():
    config = TextConfig(words=WORDS)
    assert from_dict(to_dict(config)) == config


def test_an_unknown_word_is_named(tmp_path):
    words = vocabulary(CAPTIONS, TextConfig())
    with pytest.raises(UserError, match=r"'false'.*text\.words"):
        words.id("false")
    vocabulary(CAPTIONS, TextConfig(words=WORDS)).tokenizer.save(str(tmp_path / "t.json"))
    assert Vocabulary.load(tmp_path / "t.json", 5).id("false") == 5


@pytest.mark.parametrize("wrong", [("a", "a"), ("[PAD]",), ("",)])
def test_words_that_are_none_of_their_own_are_refused(wrong):
    with pytest.raises(UserError, match=r"text\.words"):
        TextConfig(words=wrong)
