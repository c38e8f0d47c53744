//! The simulated world of the Rust tests, as much of it as is needed here.

// The tests use the rest.
#![allow(dead_code)]

#[path = "../../tests/rust/simulation/pipe.rs"]
mod pipe;
#[path = "../../tests/rust/simulation/stage.rs"]
mod stage;

pub(crate) use pipe::pipe;
pub(crate) use stage::{Stage, count, method, now};
