"""Write the corpus as token arrays: ``python pretraining/prepare.py [--documents N] [--output DIR]``."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from pathlib import Path

import numpy as np
from arrays import Documents, save_vocabulary
from corpus import Document, document, fingerprint
from recipe import CORPUS_DOCUMENTS, CORPUS_SEED, HELD_OUT_DOCUMENTS, LEAD_SHARES, REPOSITORY, VOCABULARY
from vocabulary import Vocabulary, learn_vocabulary

CORPUS = REPOSITORY / "build" / "corpus"
CHUNK = 5000
SAMPLE = 100_000
"""Documents from which the vocabulary is counted."""


def chunk(start: int, stop: int, seed: int, lead_share: float) -> list[Document]:
    return [document(seed, index, lead_share) for index in range(start, stop)]


def generate(count: int, seed: int, lead_share: float, workers: int) -> list[Document]:
    """Documents 0 to ``count``."""
    work = [(start, min(start + CHUNK, count), seed, lead_share) for start in range(0, count, CHUNK)]
    if workers == 1:
        return [item for arguments in work for item in chunk(*arguments)]
    with multiprocessing.Pool(workers) as pool:
        return [item for part in pool.starmap(chunk, work) for item in part]


def tokenise(vocabulary: Vocabulary, documents: list[Document]) -> Documents:
    """Token ids (indices into the list) and answer flags. ``ValueError`` for an answer of two tokens."""
    tokenizer = vocabulary.tokenizer([] if vocabulary.kind == "bpe" else ["[UNK]"])
    shift = 0 if vocabulary.kind == "bpe" else 1
    ids, flags, lengths = [], [], []
    for start in range(0, len(documents), CHUNK):
        part = documents[start : start + CHUNK]
        encodings = tokenizer.encode_batch([document.text for document in part])
        found = [np.array(encoding.ids, np.int64) - shift for encoding in encodings]
        spans = np.concatenate([np.array(encoding.offsets, np.int64) for encoding in encodings])
        counts = np.array([len(row) for row in found])
        # Characters are numbered through the whole part, so that one search finds all answers.
        base = np.cumsum([0, *(len(document.text) + 1 for document in part)])[:-1]
        ends = spans[:, 1] + np.repeat(base, counts)
        answers = np.array(
            [
                (at + left, at + right)
                for at, document in zip(base, part, strict=True)
                for left, right in document.answers
            ],
            np.int64,
        ).reshape(-1, 2)
        first, last = np.searchsorted(ends, answers[:, 0], "right"), np.searchsorted(ends, answers[:, 1])
        if (split := np.flatnonzero(first != last)).size:
            left, right = answers[split[0]]
            row = np.searchsorted(base, left, "right") - 1
            word = part[row].text[left - base[row] : right - base[row]]
            raise ValueError(f"Answer {word!r} is not one token of the {vocabulary.kind} vocabulary.")
        marked = np.zeros(len(ends), bool)
        marked[first] = True
        ids.append(np.concatenate(found))
        flags.append(marked)
        lengths.append(counts)
    flat = np.concatenate(ids)
    if flat.min() < 0:
        raise ValueError("The corpus has a character that the wordpiece vocabulary lacks.")
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    return Documents(flat.astype(np.uint16), np.concatenate(flags), offsets)


def prepare_corpus(output: Path, count: int, seed: int, workers: int = 2) -> None:
    """Write vocabularies, and arrays of both editions with their facts (sha256, documents, seed, lead share).

    The vocabularies are learnt from the ``forward`` edition; the other has the same words. Held-out documents
    whose answer is arbitrary are left out.
    """
    output.mkdir(parents=True, exist_ok=True)
    vocabularies: list[Vocabulary] = []
    for edition in ("forward", "two-way"):
        began = time.time()
        lead_share = LEAD_SHARES[edition]
        documents = generate(count + HELD_OUT_DOCUMENTS, seed, lead_share, workers)
        texts = [document.text for document in documents[:count]]
        held_out = [document for document in documents[count:] if not document.arbitrary]
        if not vocabularies:
            vocabularies = [
                learn_vocabulary(kind, texts[:SAMPLE], VOCABULARY) for kind in ("bpe", "wordpiece")
            ]
        for vocabulary in vocabularies:
            save_vocabulary(output, vocabulary)
            train = tokenise(vocabulary, documents[:count])
            train.save(output / f"{edition}-{vocabulary.kind}-train")
            tokenise(vocabulary, held_out).save(output / f"{edition}-{vocabulary.kind}-held-out")
            print(
                f"{edition} {vocabulary.kind}: {len(train.ids):,} tokens, "
                f"{len(np.unique(train.ids))} of {len(vocabulary.tokens)} entries used"
            )
        facts = {
            "sha256": fingerprint(texts),
            "first_thousand_sha256": fingerprint(texts[:1000]),
            "documents": count,
            "seed": seed,
            "lead_share": lead_share,
        }
        (output / f"{edition}.json").write_text(json.dumps(facts))
        print(f"{edition}: {count:,} documents in {time.time() - began:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=CORPUS_DOCUMENTS)
    parser.add_argument("--seed", type=int, default=CORPUS_SEED)
    parser.add_argument("--output", type=Path, default=CORPUS)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    prepare_corpus(options.output, options.documents, options.seed, options.workers)


if __name__ == "__main__":
    main()
