"""What networks are measured by, in numpy: accuracy, average precision, and how sure they are."""
