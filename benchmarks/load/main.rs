//! A load generator for the framed protocols.
//!
//! It makes the calls of `_core::load`, looks at every answer, which must be an echo, and prints
//! one line of JSON.
//!
//! It exits with 1 when an answer was wrong, missing, or for nobody; 2 for a wrong option.
#![allow(
    clippy::indexing_slicing,
    reason = "a peer that breaks the protocol may end a measurement by a panic"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "nanoseconds of an hour, and sizes that were held against a limit"
)]

mod line;
mod options;
#[path = "../shared/mod.rs"]
mod shared;
mod thrift;

use std::io::{self, Write};
use std::process::ExitCode;

use _core::load::baidu_std::BaiduStd;
use _core::load::indexed::Indexed;
use _core::load::wire::Wire;
use _core::load::{Finished, drive};
use options::{Options, Protocol};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            complain(&format!("{error}\n\n{}", options::USAGE));
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(finished) => {
            // Nobody to tell when the reader has gone.
            let _ = writeln!(io::stdout(), "{}", line::of(&finished.report, &options));
            std::thread::sleep(options.hold);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<Finished, String> {
    if let Some(cpu) = options.pin {
        shared::pin::pin(cpu).map_err(|error| format!("--pin {cpu}: {error}"))?;
    }
    let payload = line::payload_of(options.size);
    let body = match options.protocol {
        Protocol::Thrift => thrift::body_of(&payload)?,
        _ => line::message_of(&payload),
    };
    match options.protocol {
        Protocol::Indexed => measured(&Indexed::new(options.index, &body)?, &body, options),
        Protocol::BaiduStd => {
            let wire = BaiduStd::new(&options.service, &options.method, &body)?;
            measured(&wire, &body, options)
        }
        Protocol::Thrift => measured(&thrift::Thrift::new(&body)?, &body, options),
    }
}

fn measured<W: Wire>(wire: &W, body: &[u8], options: &Options) -> Result<Finished, String> {
    drive(wire, body, &options.plan, &mut |_| true)
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "load: {text}");
}
