//! An echo server without Python: what a server in an interpreter cannot be faster than.
//!
//! One thread, epoll; whatever one read brings is answered with one write, and nothing is
//! allocated for a call. It sends bodies back without looking into them.
#![allow(
    clippy::indexing_slicing,
    reason = "a caller that breaks the protocol may end a measurement by a panic"
)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "sizes that were held against a limit"
)]

mod baidu_std;
mod connection;
mod indexed;
mod options;
mod serve;
#[path = "../shared/mod.rs"]
mod shared;

use std::io::{self, Write};
use std::process::ExitCode;

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
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    if let Some(cpu) = options.pin {
        shared::pin::pin(cpu)?;
    }
    let server = serve::Server::bind(options.bind)?;
    writeln!(io::stdout(), "{}", server.address()?)?;
    match options.protocol {
        Protocol::Indexed => server.run(indexed::answer, options.seconds),
        Protocol::BaiduStd => server.run(baidu_std::answer, options.seconds),
    }
}

fn complain(text: &str) {
    // Nobody to tell when the reader has gone.
    let _ = writeln!(io::stderr(), "echo: {text}");
}
