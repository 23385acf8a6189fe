"""The commands that use a trained model, on the terminal: fill-mask, embed, finetune, predict, prune."""
