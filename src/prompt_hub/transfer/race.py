"""A race: which of several sources is best on a target, without scoring every source on every row.

All sources are scored on the same rows in one random order. A source leaves the race as soon as it is settled
that another one is better; the race ends when one is left, when those left are settled to be close, or when
rows or budget run out. One may look after every row: the tests are valid at all times at once.

The test for "a is no better than b" is a bet. Let D_t in [-1, 1] be a's score minus b's on the t-th of N
rows, drawn without replacement, S_t their sum, and m the mean over all N rows. If m were the mean, the next
difference would be expected to be mu_t(m) = (N m - S_{t-1}) / (N - t + 1), and the capital

    K_t(m) = prod_{s <= t} (1 + lambda_s (D_s - mu_s(m))),   0 <= lambda_s < 1 / (1 + mu_s(m)),

of a player who fixes lambda_s before row s is a nonnegative martingale that starts at 1. It exceeds 1/alpha
at any time with probability at most alpha (Ville), and falls with m: K_t(0) >= 1/alpha rejects every m <= 0.
A mean of such capitals over several constant bets lambda_s = f / (1 + mu_s(0)) is one again, and does nearly
as well as the best f. Source: I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by
betting", Journal of the Royal Statistical Society B 86 (2024), with the part on sampling without replacement,
after their "Confidence sequences for sampling without replacement", NeurIPS 2020.

Union bounds. The best source b is lost only if some other one is found better though it is not: K - 1 true
hypotheses, so each pair is tested at alpha / (K - 1). Closeness costs nothing more: with the same bets
K_t(-epsilon) >= K_t(0), so of one pair only one of the two hypotheses can be wrongly rejected. For T races
alpha is divided by T as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prompt_hub.errors import UserError

SETTLED, CLOSE, ROWS, BUDGET = "settled", "close", "rows", "budget"
_BETS = np.geomspace(0.01, 0.98, 24)
_NOTHING = 1e-9
_AT_ONCE = 64  # rows; bounds the memory


@dataclass(frozen=True)
class Verdict:
    """How a race ended.

    best: the source with the highest mean on the rows that those left were scored on. left: those not settled
    to be worse, best first; the truly best source is among them with the stated ``confidence``. reason:
    ``settled`` (one is left), ``close`` (best is at most epsilon below any of them), ``rows`` (those left
    were scored on all rows: best is best of them), ``budget`` (it was used up before that). rows: that those
    left were scored on. means: over the rows that each source was scored on. examples: rows scored, over all
    sources; full: what all would have taken.
    """

    best: str
    left: tuple[str, ...]
    reason: str
    confidence: float
    epsilon: float
    rows: int
    means: dict[str, float]
    examples: int
    full: int


class Race:
    """``next`` says what to score, ``tell`` takes the scores, ``verdict`` is there when ``next`` is empty.

    sources: names. rows: number of rows of the target, in random order. confidence: with which the best
    source is never lost, in all of ``races`` such races together. epsilon: a difference in mean score that
    does not matter. budget: most rows to score, over all sources. first: rows of a round at least;
    growth: by which factor the rows seen grow in a round. The course depends on the scores alone, so a race
    is resumed by telling it the same scores.

    Raises ``UserError`` for values outside their range.
    """

    def __init__(
        self,
        sources: Sequence[str],
        rows: int,
        confidence: float = 0.95,
        *,
        races: int = 1,
        epsilon: float = 0.0,
        budget: int | None = None,
        first: int = 32,
        growth: float = 1.5,
    ) -> None:
        if not sources or len(set(sources)) != len(sources):
            raise UserError(f"A race needs sources of different names, not {list(sources)}.")
        if rows < 1:
            raise UserError(f"A race needs rows; there are {rows}.")
        if not 0 < confidence < 1:
            raise UserError(f"Confidence {confidence} is not between 0 and 1, such as 0.95.")
        if not 0 <= epsilon < 1:
            raise UserError(
                f"A difference of {epsilon} that does not matter: allowed are 0 to 1, such as 0.01."
            )
        if first < 1 or growth < 1:
            raise UserError(f"A round of {first} rows and a growth of {growth}: both must be at least 1.")
        self.sources = list(sources)
        self.rows = rows
        self.confidence = confidence
        self.epsilon = epsilon
        self.budget = len(sources) * rows if budget is None else budget
        self._first, self._growth = first, growth
        count = len(sources)
        # Ville's bound for one pair
        self._threshold = np.log(max(count - 1, 1) * races / (1 - confidence))
        self._seen = 0
        self._left = list(range(count))
        self._told: dict[int, np.ndarray] = {}
        self._sums = np.zeros(count)
        self._counts = np.zeros(count, dtype=int)
        self._difference = np.zeros((count, count))  # S_t of a minus b, [K, K]
        self._capital = [
            np.zeros((count, count, len(_BETS))) for _ in range(2)
        ]  # logarithms; m = 0, -epsilon
        self._better = np.zeros((count, count), dtype=bool)  # a is better than b
        self._close = np.zeros((count, count), dtype=bool)  # a is at most epsilon worse than b
        self._reason: str | None = None
        self._close_round()

    # -- the course of a race --------------------------------------------------------------------------

    def next(self) -> list[tuple[str, slice]]:
        """Who is to be scored on which rows (positions in the random order); empty when the race is over."""
        if self._reason is not None:
            return []
        rows = slice(self._seen, self._round_end())
        return [(self.sources[index], rows) for index in self._left if index not in self._told]

    def tell(self, source: str, scores: np.ndarray) -> None:
        """The scores ``[n]`` in [0, 1] of a source that ``next`` named, on those rows.

        When the last one of a round has come, the round is judged. Raises ``ValueError`` for scores that
        nobody asked for, of another number, or outside [0, 1].
        """
        asked = dict(self.next())
        if source not in asked:
            raise ValueError(f"Nobody asked for {source!r}; asked for: {list(asked)}.")
        scores = np.asarray(scores, dtype=float)
        expected = asked[source].stop - asked[source].start
        if scores.shape != (expected,):
            raise ValueError(f"Scores of shape {scores.shape}; {expected} rows were asked for.")
        if not ((scores >= 0) & (scores <= 1)).all():
            raise ValueError("Scores must lie between 0 and 1.")
        self._told[self.sources.index(source)] = scores
        if len(self._told) == len(self._left):
            self._judge()

    @property
    def verdict(self) -> Verdict | None:
        """None while the race is on."""
        if self._reason is None:
            return None
        means = self._means()
        order = sorted(self._left, key=lambda index: (-means[index], index))
        return Verdict(
            best=self.sources[order[0]],
            left=tuple(self.sources[index] for index in order),
            reason=self._reason,
            confidence=self.confidence,
            epsilon=self.epsilon,
            rows=self._seen,
            means={
                name: float(mean)
                for name, mean, n in zip(self.sources, means, self._counts, strict=True)
                if n
            },
            examples=int(self._counts.sum()),
            full=len(self.sources) * self.rows,
        )

    # -- within ----------------------------------------------------------------------------------------

    def _means(self) -> np.ndarray:
        return self._sums / np.maximum(self._counts, 1)

    def _round_end(self) -> int:
        wanted = self._seen + max(self._first, int(self._seen * (self._growth - 1)))
        affordable = self._seen + (self.budget - int(self._counts.sum())) // len(self._left)
        return min(wanted, affordable, self.rows)

    def _judge(self) -> None:
        scores = np.stack([self._told[index] for index in self._left], axis=1)  # [n, left]
        self._told = {}
        for start in range(0, len(scores), _AT_ONCE):
            self._bet(scores[start : start + _AT_ONCE])
        self._sums[self._left] += scores.sum(axis=0)
        self._counts[self._left] += len(scores)
        self._drop()
        self._close_round()

    def _bet(self, scores: np.ndarray) -> None:
        """Bets on every pair of those left, row by row (``[n, left]``)."""
        pairs = np.ix_(self._left, self._left)
        drawn = scores[:, :, None] - scores[:, None, :]  # [n, a, b]
        sums = self._difference[pairs] + np.cumsum(drawn, axis=0)
        past = sums - drawn
        remaining = (self.rows - self._seen - np.arange(len(scores)))[:, None, None]
        room = 1 - past / remaining
        possible = room > _NOTHING  # else not even the worst rows to come bring the mean down to 0
        bets = np.where(possible, 1, 0)[..., None] * _BETS / np.where(possible, room, 1)[..., None]
        # The sum over all rows that a ends with at least, if it loses every row to come.
        least = sums - (remaining - 1)
        for settled, capital, mean in (
            (self._better, self._capital[0], 0.0),
            (self._close, self._capital[1], -self.epsilon),
        ):
            surprise = drawn - (self.rows * mean - past) / remaining
            course = capital[pairs] + np.cumsum(np.log1p(bets * surprise[..., None]), axis=0)
            certain = least - self.rows * mean > _NOTHING
            settled[pairs] |= (certain | (_log_mean(course) >= self._threshold)).any(axis=0)
            capital[pairs] = course[-1]
        self._difference[pairs] = sums[-1]
        self._seen += len(scores)

    def _drop(self) -> None:
        """Those that are settled to be worse than one that was in this round leave."""
        worse = np.any(self._better[np.ix_(self._left, self._left)], axis=0)
        if worse.all():  # a contradiction, at most as likely as the error that is allowed
            worse[np.argmax(self._means()[self._left])] = False
        self._left = [index for index, out in zip(self._left, worse, strict=True) if not out]

    def _close_round(self) -> None:
        leader = max(self._left, key=lambda index: self._means()[index])
        others = [index for index in self._left if index != leader]
        if not others:
            self._reason = SETTLED
        elif self._seen == self.rows:
            self._reason = ROWS
        elif self.epsilon and self._close[leader, others].all():
            self._reason = CLOSE
        elif self._round_end() == self._seen:
            self._reason = BUDGET


def _log_mean(logarithms: np.ndarray) -> np.ndarray:
    """Logarithm of the mean of what the last axis holds the logarithms of."""
    highest = logarithms.max(axis=-1)
    return highest + np.log(np.exp(logarithms - highest[..., None]).mean(axis=-1))
