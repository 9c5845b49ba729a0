"""Answers to questions from their words alone, a baseline that does not see the clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BLOCK = 1024
"""Number of questions that are answered together, to limit memory: a benchmark has tens of thousands."""


class TextOnly:
    """Naive Bayes over the words of questions, with add-one smoothing.

    It is fitted on questions [Q] with their answers [Q]; Q is at least 1.
    """

    def __init__(self, texts: Sequence[str], answers: Sequence[str]) -> None:
        self.answers = tuple(sorted(set(answers)))
        words = sorted({word for text in texts for word in text.split()})
        self.places = {word: i for i, word in enumerate(words)}
        number = {answer: i for i, answer in enumerate(self.answers)}
        rows = np.array([number[answer] for answer in answers])
        counts = np.ones((len(self.answers), len(words)))
        pairs = [
            (row, self.places[word])
            for row, text in zip(rows.tolist(), texts, strict=True)
            for word in text.split()
        ]
        np.add.at(counts, tuple(np.array(pairs, np.int64).reshape(-1, 2).T), 1.0)
        self.prior = np.log(np.bincount(rows) / len(rows))  # [A]
        self.likelihood = np.log(counts / counts.sum(1, keepdims=True))  # [A, W]

    def choose(self, texts: Sequence[str], options: Sequence[Sequence[str]]) -> list[str]:
        """The most probable option of each question; options that were never an answer come last."""
        number = {answer: i for i, answer in enumerate(self.answers)}
        columns = {id(own): np.array([number.get(option, -1) for option in own]) for own in options}
        found = []
        for start in range(0, len(texts), BLOCK):
            bags = self._bags(texts[start : start + BLOCK])
            scores = self.prior + bags @ self.likelihood.T  # [BLOCK, A]
            for row, own in zip(scores, options[start : start + BLOCK], strict=True):
                known = columns[id(own)]
                found.append(own[int(np.where(known < 0, -np.inf, row[known]).argmax())])
        return found

    def _bags(self, texts: Sequence[str]) -> np.ndarray:
        """Counts of the training words in each text, float64 [Q, W]."""
        bags = np.zeros((len(texts), len(self.places)))
        for row, text in zip(bags, texts, strict=True):
            for word in text.split():
                if word in self.places:
                    row[self.places[word]] += 1
        return bags
