//! A load generator for the framed protocols.
//!
//! One thread keeps so many calls in flight on so many connections, sends the next one when an
//! answer has come, looks at every answer, and prints one line of JSON. It is to be so much faster
//! than what it measures that its own time does not show: frames are encoded beforehand, whatever
//! one read brings is answered with one write, and nothing is allocated for a call.
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

mod baidu_std;
mod connection;
mod drive;
mod indexed;
mod measure;
mod options;
#[path = "../shared/mod.rs"]
mod shared;
mod thrift;
mod wire;

use std::io::{self, Write};
use std::process::ExitCode;

use drive::Finished;
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
            let _ = writeln!(io::stdout(), "{}", finished.line);
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
    let payload = wire::payload_of(options.size);
    let body = match options.protocol {
        Protocol::Thrift => thrift::body_of(&payload)?,
        _ => wire::message_of(&payload),
    };
    match options.protocol {
        Protocol::Indexed => {
            let wire = indexed::Indexed::new(options.index, &body)?;
            drive::drive(&wire, &body, options)
        }
        Protocol::BaiduStd => {
            let wire = baidu_std::BaiduStd::new(&options.service, &options.method, &body)?;
            drive::drive(&wire, &body, options)
        }
        Protocol::Thrift => drive::drive(&thrift::Thrift::new(&body)?, &body, options),
    }
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "load: {text}");
}
