"""A vocabulary as the `tokenizer.json` that Hugging Face `tokenizers` and `transformers` load."""

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from maskmill.tokenizer.rules import MAX_WORD_LENGTH
from maskmill.tokenizer.vocab import CLS, SEP, UNK, Vocab


def to_tokenizer_json(vocab: Vocab, cased: bool) -> str:
    """The text of `tokenizer.json` for a BERT vocabulary.

    It gives our ids but for the classes of code points that docs/tokenizer.md lists: private use, the capital sigma,
    and a few hundred where the library's Unicode tables differ from Python's.
    Special tokens are not registered as such: a literal `[MASK]` in a text stays text, as in BERT's own tokenizer.
    """
    tokenizer = Tokenizer(models.WordPiece(vocab.ids, unk_token=UNK, max_input_chars_per_word=MAX_WORD_LENGTH))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not cased)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        pair=f"{CLS} $A {SEP} $B:1 {SEP}:1",
        special_tokens=[(CLS, vocab.ids[CLS]), (SEP, vocab.ids[SEP])],
    )
    return tokenizer.to_str(pretty=True)
