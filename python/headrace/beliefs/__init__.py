"""What estimators believe of labelled queries, under every run set that is reached; and their fits, by folds."""
