"""The rules of an example as one would read them in the specification: one example at a time, slowly."""

from maskmill.tokenizer.basic import split_words
from maskmill.tokenizer.chars import is_cjk, is_punctuation


def first_broken(example, config, vocab):
    """The name of the first rule that an example (feature -> list) breaks, or None."""
    return next(_broken(example, config, vocab), None)


def _broken(example, config, vocab):
    ids, mask, segments = example["input_ids"], example["input_mask"], example["segment_ids"]
    positions, labels = example["masked_lm_positions"], example["masked_lm_ids"]
    weights, (next_label,) = example["masked_lm_weights"], example["next_sentence_labels"]
    cls, sep, unk, shown_mask = (vocab.ids[token] for token in ("[CLS]", "[SEP]", "[UNK]", "[MASK]"))
    has_pairs = config.objective != "mlm"

    length = sum(value != 0 for value in mask)
    if mask != [1] * length + [0] * (len(mask) - length) or length < (5 if has_pairs else 3):
        yield "tokens_come_first"
    if max(ids) >= len(vocab):
        yield "ids_are_in_vocabulary"
    if max(labels) >= len(vocab):
        yield "labels_are_in_vocabulary"
    if any(ids[length:]):
        yield "padding_is_zero"
    count = sum(weight != 0 for weight in weights)
    if weights != [1.0] * count + [0.0] * (len(weights) - count):
        yield "predictions_come_first"
    if any(positions[count:]):
        yield "padding_of_positions_is_zero"
    if any(labels[count:]):
        yield "padding_of_labels_is_zero"
    predicted = positions[:count]
    if predicted != sorted(set(predicted)) or any(not 0 < position < length - 1 for position in predicted):
        yield "positions_ascend_in_text"

    original = ids[:length]
    for position, label in zip(predicted, labels):
        original[position] = label
    if original[0] != cls:
        yield "cls_opens"
    seps = [position for position, id in enumerate(original) if id == sep]
    if has_pairs:
        if len(seps) != 2 or seps[0] < 2 or seps[1] != length - 1 or seps[1] - seps[0] < 2:
            yield "sep_closes_segments"
    elif seps != [length - 1]:
        yield "sep_closes_segments"
    if set(predicted) & set(seps):
        yield "specials_are_not_predicted"

    def text_of(id):
        return vocab.tokens[id].removeprefix("##") if is_piece(id) else vocab.tokens[id]

    def is_piece(id):
        return vocab.tokens[id].startswith("##") and vocab.tokens[id] != "##"

    def is_text(id):
        return id == unk or split_words(text_of(id), config.cased) == [text_of(id)]

    def is_word_of_its_own(id):
        return id == unk or (len(text_of(id)) == 1 and (is_punctuation(text_of(id)) or is_cjk(text_of(id))))

    places = [position for position in range(1, length) if position not in seps]
    if any(not is_text(original[position]) for position in places):
        yield "text_is_ordinary"
    for position in places:
        if position - 1 in places and is_piece(original[position]) and is_word_of_its_own(original[position - 1]):
            yield "pieces_continue_words"
    in_b = length - seps[0] - 1 if has_pairs else 0
    if segments != [0] * (length - in_b) + [1] * in_b + [0] * (len(segments) - length):
        yield "segments_end_at_sep"
    for position in predicted:
        token = vocab.tokens[ids[position]]
        is_special = len(token) > 2 and token[0] == "[" and token[-1] == "]"
        if ids[position] not in (shown_mask, original[position]) and is_special:
            yield "masks_are_shown"

    wanted = min(config.max_predictions_per_seq, max(1, round(length * config.masked_lm_prob)), len(places))
    if not config.whole_word_mask:
        if count != wanted:
            yield "predictions_are_as_many"
    else:
        words = []
        for position in places:
            if position - 1 in places and is_piece(original[position]):
                words[-1].append(position)
            else:
                words.append([position])
        if any(0 < len(set(word) & set(predicted)) < len(word) for word in words):
            yield "words_are_whole"
        left = [len(word) for word in words if not set(word) & set(predicted)]
        if count > wanted or any(size <= wanted - count for size in left):
            yield "words_are_as_many"
    if next_label not in ((0, 1) if has_pairs else (0,)):
        yield "label_is_known"
