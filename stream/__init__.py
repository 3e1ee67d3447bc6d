"""The stream job: events on Kafka in, refreshed recommendation lists out."""
