//! System calls on ringer's objects, one file per family: rules in Linux's order, then the
//! transition, then the wake-up.

pub mod eventfd;
pub mod mqueue;
pub mod read_write;
pub mod unix;
mod wait;

pub use eventfd::{eventfd_read, eventfd_write};
pub use read_write::{pipe_read, pipe_write, Blocking, Written};
pub use unix::{
    pending_recv, pending_send, socket_charged, socket_error, socket_recv, socket_send, How,
    RealSocket, Received, SendEnd,
};
