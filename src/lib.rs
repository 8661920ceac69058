//! Tidetable: the server and the command line.

pub mod cli;
