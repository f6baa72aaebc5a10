//! Open file descriptions and the tables that name them by descriptor number.

pub mod fd_table;
mod file_ref;
mod open_file;

pub use file_ref::{role, EventfdFile, FileRef, Head, MqFile, SignalfdFile, SocketFile, SocketId};
pub use open_file::{
    close_ref, file, find_file_of, get_ref, new_file, new_file_of, End, OpenFile, PipeEnd,
};
