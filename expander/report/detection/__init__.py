"""What a test of action detection leaves: tables, figures, drawn films."""
