//! Open file descriptions and the tables that name them by descriptor number.

pub mod fd_table;
mod open_file;

pub use open_file::{close_ref, file, find_file_of, get_ref, new_file, End, OpenFile, PipeEnd};
