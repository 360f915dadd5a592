"""A search from start to end: prepared, run step by step against its journal, compared."""
