//! How a handler's call ends: by its response, by a failure, or because it was let go of.

use std::any::Any;

use pyo3::prelude::*;

use crate::call::{Level, Outcome};
use crate::python::answer;
use crate::python::controller::ServerController;
use crate::python::enclosed::Enclosed;
use crate::python::errors::Described;
use crate::status::{Code, Status};
use crate::wire::baidu_std::errno;
use crate::wire::compress::Compression;
use crate::wire::{Body, Extras, Parts};

impl ServerController {
    /// Ends the call with a serialized response, if it has not ended.
    pub(in crate::python) fn respond(&self, py: Python<'_>, response: &[u8]) {
        let Some(enclosed) = self.enclosed.take() else {
            let body = Body {
                bytes: response,
                compression: Compression::None,
            };
            self.ticket.respond(body, &Extras::NONE);
            return;
        };
        let Enclosed { parts, compression } = enclosed;
        match answer::packed(py, response, compression) {
            Ok(body) => {
                let extras = Extras::from(parts);
                self.ticket.respond(&body, &extras);
            }
            Err(error) => self.fail(&Status::new(Code::Internal, error.to_string())),
        }
    }

    /// Ends a call that needs no answer, if it has not ended, and says whether this was its end.
    pub(in crate::python) fn finish(&self, outcome: Outcome) -> bool {
        self.ticket.finish(outcome)
    }

    fn deny(&self, status: &Status) -> bool {
        let Some(enclosed) = self.enclosed.take() else {
            return self.ticket.fail(status);
        };
        let metadata = enclosed.parts.metadata;
        let extras = Extras::from(Parts {
            metadata,
            ..Parts::default()
        });
        self.ticket.deny(status, &extras)
    }

    /// Ends the call as failed, and writes that down.
    pub(in crate::python) fn fail(&self, status: &Status) {
        let line = self.failure_line("call failed", status);
        if self.deny(status) {
            self.servicing().log(Level::Error, line);
        }
    }

    /// Ends the call with what its handler raised, and writes that down; an `RpcError` is an
    /// answer and needs no traceback.
    pub(in crate::python) fn raised(&self, py: Python<'_>, error: PyErr) {
        let Described {
            mut status,
            is_answer,
        } = Described::of(py, &error);
        status.native = status.native.map(errno::chosen);
        let line = self.failure_line("handler raised", &status);
        let late = format!(
            "handler raised after the end of its call method={} peer={} text={:?}",
            self.full_name(),
            self.link().peer(),
            status.text
        );
        let told = if is_answer || self.servicing().expose_errors {
            status
        } else {
            Status::new(status.code, "internal error")
        };
        // The caller knows nothing of what came after the end.
        let line = if self.deny(&told) { line } else { late };
        let attached: Option<Box<dyn Any + Send>> = if is_answer {
            None
        } else {
            Some(Box::new(error.into_value(py).into_any()))
        };
        let journal = &self.servicing().process.get().journal;
        journal.attach(Level::Error, line, attached);
    }

    fn failure_line(&self, what: &str, Status { code, text, .. }: &Status) -> String {
        let (method, peer) = (self.full_name(), self.link().peer());
        format!("{what} method={method} peer={peer} code={code} text={text:?}")
    }

    /// Ends the call that its handler let go of; nothing happens when it has ended.
    pub(in crate::python) fn let_go(&self) {
        if self.ticket.is_ended() {
            return;
        }
        match self.failed_text() {
            Some(text) => self.fail(&Status::new(Code::Internal, text)),
            None if self.answers() => {
                self.fail(&Status::new(Code::Internal, "the handler dropped done"));
            }
            None => drop(self.finish(Outcome::Unanswered)),
        }
    }
}
