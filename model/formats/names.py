"""The files that describe a model folder of ours. Standard library only, so that the command line can read them."""

TRAINING = "training.json"  # in a folder of a pre-trained model
FINETUNING = "finetuning.json"  # in a folder of a fine-tuned model, and in no other
