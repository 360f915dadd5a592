"""Data in a store: s3://, gs://, hdfs:// and https://, behind a cache on this machine."""
