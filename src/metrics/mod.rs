//! Counters and gauges, by the names that `stats()` and later exporters show.

mod counters;

pub use counters::{Counters, Value};
