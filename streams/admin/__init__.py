"""Operations on a cluster or a data directory: topics, dead letters, experiments, learners, inspection, explanation."""
