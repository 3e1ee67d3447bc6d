"""The recommender: segments, networks, neighbours, ranking, evaluation. Knows no Kafka, HTTP, environment or clock."""
