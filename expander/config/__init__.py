"""What a user may set: YAML files and `--set`, checked, as frozen values."""
