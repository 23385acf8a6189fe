"""A training that takes a second."""

from small_dataset import VOCAB_SIZE

from maskmill.model.bert.config import BertConfig
from maskmill.model.pretraining.config import TrainConfig

STEPS = 10
BERT_CONFIG = BertConfig(
    vocab_size=VOCAB_SIZE,
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=64,
    max_position_embeddings=16,
)
TRAIN_CONFIG = TrainConfig(
    train_batch_size=8,
    learning_rate=1e-3,
    num_train_steps=STEPS,
    num_warmup_steps=2,
    save_checkpoints_steps=4,
    keep_checkpoints=2,
    save_summary_steps=1,
    first_weights="neighbours",
)
