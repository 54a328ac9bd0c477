//! The cases that every store passes, one test a case and engine.

mod api_keys;
mod approvals;
mod audit;
mod batches;
mod chain;
mod features;
mod github;
mod handoffs;
mod limits;
mod locks;
mod memories;
mod merge_queue;
mod messages;
mod network;
mod notes;
mod pauses;
mod ports;
mod projects;
mod queues;
mod rulebook;
mod sessions;
mod skills;
mod verification;
mod work;
