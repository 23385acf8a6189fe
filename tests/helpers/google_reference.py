"""The oracle: google-research/bert's instance creation, readable, drawing the same random numbers in the same order.

It knows nothing of our repairs. `test_google_reference.py` holds it to Google's own output; the fast code is then
held to it.
"""

import random
from dataclasses import dataclass

from maskmill.pipeline.dataset.config import InstanceConfig

Tokens = list[str]
Document = list[Tokens]


@dataclass
class Instance:
    tokens: Tokens
    segment_ids: list[int]
    masked_lm_positions: list[int]
    masked_lm_labels: Tokens
    is_random_next: bool


def create_instances(
    documents: list[Document], vocab_words: list[str], config: InstanceConfig, rng: random.Random
) -> list[Instance]:
    """All copies of all documents as masked instances, shuffled; the documents are shuffled first."""
    rng.shuffle(documents)
    instances = []
    for _ in range(config.dupe_factor):
        for index in range(len(documents)):
            for tokens_a, tokens_b, is_random_next in pair_document(documents, index, config, rng):
                truncate_pair(tokens_a, tokens_b, config.max_num_tokens, rng)
                tokens = ["[CLS]", *tokens_a, "[SEP]", *tokens_b, "[SEP]"]
                segment_ids = [0] * (len(tokens_a) + 2) + [1] * (len(tokens_b) + 1)
                positions, labels = mask_tokens(tokens, vocab_words, config, rng)
                instances.append(Instance(tokens, segment_ids, positions, labels, is_random_next))
    rng.shuffle(instances)
    return instances


def pair_document(documents: list[Document], index: int, config: InstanceConfig, rng: random.Random):
    """Yields (tokens of A, tokens of B, is_random_next) of one document, before truncation."""
    document = documents[index]
    target_length = config.max_num_tokens
    if rng.random() < config.short_seq_prob:
        target_length = rng.randint(2, config.max_num_tokens)

    chunk: list[Tokens] = []
    next_sentence = 0
    while next_sentence < len(document):
        chunk.append(document[next_sentence])
        next_sentence += 1
        if next_sentence < len(document) and sum(map(len, chunk)) < target_length:
            continue
        a_end = rng.randint(1, len(chunk) - 1) if len(chunk) >= 2 else 1
        tokens_a = join(chunk[:a_end])
        is_random_next = len(chunk) == 1 or rng.random() < 0.5
        if is_random_next:
            tokens_b = draw_random_next(documents, index, target_length - len(tokens_a), rng)
            next_sentence -= len(chunk) - a_end
        else:
            tokens_b = join(chunk[a_end:])
        yield tokens_a, tokens_b, is_random_next
        chunk = []


def draw_random_next(documents: list[Document], index: int, target_length: int, rng: random.Random) -> Tokens:
    """Whole sentences from a random place of another document; the tenth draw is taken whatever it is."""
    for _ in range(10):
        other = rng.randint(0, len(documents) - 1)
        if other != index:
            break
    tokens: Tokens = []
    for sentence in documents[other][rng.randint(0, len(documents[other]) - 1) :]:
        tokens += sentence
        if len(tokens) >= target_length:
            break
    return tokens


def truncate_pair(tokens_a: Tokens, tokens_b: Tokens, max_num_tokens: int, rng: random.Random) -> None:
    """Drops tokens from the longer segment, from either end, until the pair fits."""
    while len(tokens_a) + len(tokens_b) > max_num_tokens:
        longer = tokens_a if len(tokens_a) > len(tokens_b) else tokens_b
        longer.pop(0 if rng.random() < 0.5 else -1)


def mask_tokens(
    tokens: Tokens, vocab_words: list[str], config: InstanceConfig, rng: random.Random
) -> tuple[list[int], Tokens]:
    """Masks `tokens` in place; returns the positions, ascending, and what stood there."""
    candidates: list[list[int]] = []
    for position, token in enumerate(tokens):
        if token in ("[CLS]", "[SEP]"):
            continue
        if config.whole_word_mask and candidates and token.startswith("##"):
            candidates[-1].append(position)
        else:
            candidates.append([position])
    rng.shuffle(candidates)

    original = list(tokens)
    wanted = min(config.max_predictions_per_seq, max(1, round(len(tokens) * config.masked_lm_prob)))
    masked: list[int] = []
    for positions in candidates:
        if len(masked) >= wanted:
            break
        if len(masked) + len(positions) > wanted:
            continue
        for position in positions:
            if rng.random() < 0.8:
                tokens[position] = "[MASK]"
            elif rng.random() < 0.5:
                tokens[position] = original[position]
            else:
                tokens[position] = vocab_words[rng.randint(0, len(vocab_words) - 1)]
            masked.append(position)
    masked.sort()
    return masked, [original[position] for position in masked]


def join(sentences: list[Tokens]) -> Tokens:
    return [token for sentence in sentences for token in sentence]
