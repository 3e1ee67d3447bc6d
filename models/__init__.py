"""The recommender: segments, networks, neighbours, ranking, evaluation; no Kafka, HTTP or clock."""
