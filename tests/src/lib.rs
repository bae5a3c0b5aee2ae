//! Workloads of known truth.
