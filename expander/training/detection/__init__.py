"""Training and validation of networks that say what each person in a clip does."""
