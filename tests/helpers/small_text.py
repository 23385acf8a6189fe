"""The words of which the small corpus of the tests is made."""

TEXT = "the cat sat on a mat and dog ran to park while it rained all day then they went home for tea"
WORDS = TEXT.split()
