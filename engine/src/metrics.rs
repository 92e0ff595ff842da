//! Counters of the agent and their Prometheus text.
