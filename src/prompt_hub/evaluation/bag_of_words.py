"""What a classifier without a backbone reaches on a task: from its words, and from its lengths alone.

A prompt is worth something where it does better. On data made by a program such baselines also show leaks:
words or lengths that give the class away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_hub.errors import UserError
from prompt_hub.tasks.metrics import bootstrap_interval, compute_metrics, primary_metric
from prompt_hub.tasks.splits import Split
from prompt_hub.tasks.task import Task

_TOKEN = r"\w+|[^\w\s]"
"""A word or a sign: the default of scikit-learn leaves out signs and words of one letter."""


@dataclass(frozen=True)
class Baseline:
    """metrics: the task's and ``combined_score``, over n rows. ci95: of the primary metric."""

    task: str
    n: int
    primary_metric: str
    metrics: dict[str, float]
    ci95: tuple[float, float]

    @property
    def score(self) -> float:
        return self.metrics[self.primary_metric]


def bag_of_words(task: Task, train: Split, test: Split) -> Baseline:
    """Logistic regression on counts of words and pairs of neighbouring words, of each text by itself.

    Fitted on ``train``, scored on ``test``; the same result every time. ``UserError`` for a task that is no
    classification, or where the rows of ``train`` are unlabelled or all of one class.
    """
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    _check(task, train)
    known, new = [], []
    for fitted, scored in zip(_texts(task, train), _texts(task, test), strict=True):
        counter = CountVectorizer(ngram_range=(1, 2), token_pattern=_TOKEN)
        known.append(counter.fit_transform(fitted))
        new.append(counter.transform(scored))
    model = LogisticRegression(max_iter=1000).fit(hstack(known, "csr"), train.labels())
    return _scored(task, test, model.predict(hstack(new, "csr")).tolist())


def length_only(task: Task, train: Split, test: Split) -> Baseline:
    """A small decision tree on the words and characters of each text; otherwise as ``bag_of_words``."""
    from sklearn.tree import DecisionTreeClassifier

    _check(task, train)
    model = DecisionTreeClassifier(max_depth=6, min_samples_leaf=20, random_state=0)
    model.fit(_lengths(_texts(task, train)), train.labels())
    return _scored(task, test, model.predict(_lengths(_texts(task, test))).tolist())


def _check(task: Task, train: Split) -> None:
    if task.kind != "classification":
        raise UserError(f"Task {task.name!r} is a {task.kind}; only a classification has this baseline.")
    classes = set(train.labels())
    if len(classes) < 2 or None in classes:
        raise UserError(
            f"Task {task.name!r}: the rows to fit on ({train.source}) are unlabelled or all of one class. "
            "Give labelled rows of two classes or more."
        )


def _texts(task: Task, split: Split) -> list[list[str]]:
    """All first texts, and all second ones where the task has them."""
    firsts = [example.text_a for example in split.examples]
    return [firsts, [example.text_b or "" for example in split.examples]] if task.has_text_b else [firsts]


def _lengths(texts: list[list[str]]) -> np.ndarray:
    """``[n, 2 or 4]``: words and characters of the first texts, then of the second."""
    return np.array(
        [size for each in texts for size in ([len(t.split()) for t in each], [len(t) for t in each])]
    ).T


def _scored(task: Task, test: Split, predictions: list[int]) -> Baseline:
    references, name = test.references(), primary_metric(task)
    return Baseline(
        task=task.name,
        n=len(test),
        primary_metric=name,
        metrics=compute_metrics(task, predictions, references),
        ci95=bootstrap_interval(task, predictions, references, name),
    )
