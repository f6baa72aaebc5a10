//! POSIX message queues. See mq_overview(7).

mod attributes;
mod blocking;
mod descriptors;
mod names;
mod notify;
mod order;
mod processes;
mod readiness;
