//! Workloads of known truth: a small file-serving web server, a client that measures it, and a backup that gets in
//! its way. Each is a program of its own (`src/bin`), so that it has a name and a pid that a report can be judged by.

pub mod workload;
