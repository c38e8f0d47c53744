//! Who is told when a connection is lost.

use std::mem;
use std::sync::{Mutex, Weak};

use crate::call::LossListener;
use crate::net::connection::locked;

/// Listeners that may pile up before those that are gone are swept out.
const LISTENERS_UNSWEPT: usize = 64;

#[derive(Debug)]
struct State {
    lost: bool,
    listeners: Vec<Weak<dyn LossListener>>,
    /// How many listeners there are when those that are gone are next swept out.
    sweep_at: usize,
}

/// Whether a connection is lost, and who wants to know.
#[derive(Debug)]
pub(super) struct Loss(Mutex<State>);

impl Default for Loss {
    fn default() -> Self {
        Self(Mutex::new(State {
            lost: false,
            listeners: Vec::new(),
            sweep_at: LISTENERS_UNSWEPT,
        }))
    }
}

impl Loss {
    pub(super) fn is_lost(&self) -> bool {
        locked(&self.0).lost
    }

    /// The connection is lost: tells all.
    pub(super) fn lose(&self) {
        let listeners = {
            let mut state = locked(&self.0);
            state.lost = true;
            mem::take(&mut state.listeners)
        };
        for listener in listeners.iter().filter_map(Weak::upgrade) {
            listener.lost();
        }
    }

    /// Has `listener` told, at once when the connection is lost already.
    pub(super) fn listen(&self, listener: Weak<dyn LossListener>) {
        let mut state = locked(&self.0);
        if state.lost {
            drop(state);
            if let Some(listener) = listener.upgrade() {
                listener.lost();
            }
            return;
        }
        if state.listeners.len() >= state.sweep_at {
            state.listeners.retain(|other| other.strong_count() > 0);
            // Not at each one above that, where most are alive.
            state.sweep_at = LISTENERS_UNSWEPT.max(state.listeners.len() * 2);
        }
        state.listeners.push(listener);
    }
}
