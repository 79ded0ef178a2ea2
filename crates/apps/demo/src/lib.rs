//! The demo: a whole bus on this machine, and the story of a one-stop desk told over it (design §12).
//!
//! [`bus`] makes the folders and starts every part as its own process; [`story`] tells what happens on it and checks that it
//! happens so. It must not be needed by any part of the bus, and its registers hold synthetic people only.

pub mod bus;
mod description;
pub mod http;
pub mod registers;
pub mod story;

pub use description::DemoFile;
