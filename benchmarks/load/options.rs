//! The command line.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use _core::load::{Expects, MOST_IN_FLIGHT, Plan};

pub(crate) const USAGE: &str = "\
usage: load --connect HOST:PORT [options]
  --protocol NAME                indexed (length 4, id 4, index 2, replies by id),
                                 baidu_std or thrift (framed, binary)              [indexed]
  --connections N                                                                  [1]
  --in-flight N                  calls under way on each connection, 1 to 1000     [1]
  --size BYTES                   of the payload, field 1 of the message            [16]
  --seconds S                    measured                                          [1]
  --warmup S                     before that                                       [0.2]
  --calls N                      stop after so many measured calls                 [no bound]
  --hold S                       keep the connections open for so long afterwards  [0]
  --stall S                      fail when no answer comes for so long             [10]
  --index N                      method, indexed                                   [0]
  --service NAME --method NAME   method, baidu_std                                 [bench.Echo echo]
  --pin CPU                      run on this CPU alone                             [anywhere]
  --mode closed                  the next call when an answer has come; the only one";

const MOST_CONNECTIONS: usize = 60_000;
const LONGEST: f64 = 3600.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Indexed,
    BaiduStd,
    Thrift,
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) plan: Plan,
    pub(crate) protocol: Protocol,
    pub(crate) size: usize,
    pub(crate) hold: Duration,
    pub(crate) index: u16,
    pub(crate) service: String,
    pub(crate) method: String,
    pub(crate) pin: Option<usize>,
}

impl Options {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut connect = None;
        let mut options = Self {
            plan: Plan {
                connect: SocketAddr::from(([127, 0, 0, 1], 0)),
                tls: None,
                connections: 1,
                in_flight: 1,
                measured: Duration::from_secs(1),
                warmup: Duration::from_millis(200),
                calls: u64::MAX,
                stall: Duration::from_secs(10),
                expects: Expects::Echo,
            },
            protocol: Protocol::Indexed,
            size: 16,
            hold: Duration::ZERO,
            index: 0,
            service: "bench.Echo".to_owned(),
            method: "echo".to_owned(),
            pin: None,
        };
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} has no value"))?;
            match name.as_str() {
                "--connect" => connect = Some(number(&name, &value)?),
                "--protocol" => options.protocol = protocol(&value)?,
                "--connections" => {
                    options.plan.connections = count(&name, &value, MOST_CONNECTIONS)?;
                }
                "--in-flight" => options.plan.in_flight = count(&name, &value, MOST_IN_FLIGHT)?,
                "--size" => options.size = number(&name, &value)?,
                "--seconds" => options.plan.measured = seconds(&name, &value)?,
                "--warmup" => options.plan.warmup = seconds(&name, &value)?,
                "--calls" => options.plan.calls = number(&name, &value)?,
                "--hold" => options.hold = seconds(&name, &value)?,
                "--stall" => options.plan.stall = seconds(&name, &value)?,
                "--index" => options.index = number(&name, &value)?,
                "--service" => options.service = value,
                "--method" => options.method = value,
                "--pin" => options.pin = Some(number(&name, &value)?),
                "--mode" if value == "closed" => {}
                _ => return Err(format!("unknown option {name} {value}")),
            }
        }
        options.plan.connect = connect.ok_or("--connect is missing")?;
        Ok(options)
    }
}

fn protocol(value: &str) -> Result<Protocol, String> {
    match value {
        "indexed" => Ok(Protocol::Indexed),
        "baidu_std" => Ok(Protocol::BaiduStd),
        "thrift" => Ok(Protocol::Thrift),
        _ => Err(format!("no such protocol: {value}")),
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    let wrong = |_| format!("{name} cannot be {value}");
    value.parse().map_err(wrong)
}

fn count(name: &str, value: &str, most: usize) -> Result<usize, String> {
    match number(name, value)? {
        count if (1..=most).contains(&count) => Ok(count),
        count => Err(format!("{name} is 1 to {most}, not {count}")),
    }
}

fn seconds(name: &str, value: &str) -> Result<Duration, String> {
    let seconds: f64 = number(name, value)?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if seconds <= LONGEST => Ok(duration),
        _ => Err(format!("{name} is 0 to {LONGEST} s, not {value}")),
    }
}
