"""Shards: tars of videos with their labels, as the webdataset library writes and reads them."""
