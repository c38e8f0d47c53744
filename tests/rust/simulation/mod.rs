//! A world of one thread: simulated time, and connections in memory. The fuzz targets play on the
//! same stage, see `fuzz/src/simulation.rs`.

// Each test file is a crate of its own, and none uses all of this.
#![allow(dead_code, unused_imports)]

mod actor;
mod game;
mod ledger;
mod network;
mod pipe;
mod plant;
mod stage;

pub(crate) use game::{Played, play};
pub(crate) use pipe::{End, Load, Way, pipe};
pub(crate) use plant::Plant;
pub(crate) use stage::{Stage, count, method, now, registry};
