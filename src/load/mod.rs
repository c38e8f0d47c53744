//! A load generator: many calls of one method, and how long they took.
//!
//! One thread keeps so many calls in flight on so many connections, and sends the next one when an
//! answer has come. It is to be so much faster than what it measures that its own time does not
//! show: frames are encoded beforehand, whatever one read brings is answered with one write, and
//! nothing is allocated for a call. Its wires are written apart from the codecs of `wire`, whose
//! mistakes and costs it would share otherwise.
#![allow(
    clippy::indexing_slicing,
    reason = "places in what is its own, and lengths that were held against each other"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "nanoseconds of an hour, and sizes that were held against a limit"
)]

pub mod baidu_std;
pub mod buffer;
mod connection;
mod drive;
pub mod indexed;
pub mod meta;
mod plan;
pub mod ready;
mod report;
mod stream;
pub mod wire;

pub use drive::{Finished, drive};
pub use plan::{Expects, MOST_IN_FLIGHT, Plan, Progress};
pub use report::Report;
