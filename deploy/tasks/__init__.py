"""The commands that use a model: fill-mask, embed, finetune and predict."""
