//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: echo [options]; prints its address and serves
  --bind HOST:PORT               [127.0.0.1:0]
  --protocol indexed|baidu_std   [indexed]
  --seconds S                    end after so long, whoever is connected [3600]
  --pin CPU                      run on this CPU alone [anywhere]";

#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol {
    Indexed,
    BaiduStd,
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) bind: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) seconds: Duration,
    pub(crate) pin: Option<usize>,
}

impl Options {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            protocol: Protocol::Indexed,
            seconds: Duration::from_secs(3600),
            pin: None,
        };
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} has no value"))?;
            let wrong = || format!("{name} cannot be {value}");
            match (name.as_str(), value.as_str()) {
                ("--protocol", "indexed") => options.protocol = Protocol::Indexed,
                ("--protocol", "baidu_std") => options.protocol = Protocol::BaiduStd,
                ("--bind", _) => options.bind = value.parse().map_err(|_| wrong())?,
                ("--pin", _) => options.pin = Some(value.parse().map_err(|_| wrong())?),
                ("--seconds", _) => {
                    let seconds = value.parse().map_err(|_| wrong())?;
                    options.seconds = Duration::from_secs(seconds);
                }
                _ => return Err(format!("unknown option {name} {value}")),
            }
        }
        Ok(options)
    }
}
