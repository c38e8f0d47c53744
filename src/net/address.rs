//! Where to listen and where to connect: `host:port`, `[v6]:port`, `unix:path`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A place to listen at or to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A TCP port of a host, by name or number.
    Tcp {
        /// Name or address, a v6 address without its brackets.
        host: String,
        /// The port; 0 lets the system choose one to listen at.
        port: u16,
    },
    /// A Unix stream socket.
    Unix(PathBuf),
}

/// A text that names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address ({reason}); one of host:port, [v6]:port, unix:path is expected")]
pub struct AddressError {
    text: String,
    reason: &'static str,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |reason| AddressError {
            text: text.to_owned(),
            reason,
        };
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() || path.contains('\0') {
                return Err(refused("the path is empty or has a NUL in it"));
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        if text.contains("://") {
            return Err(refused("a URL is none"));
        }
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| refused("there is no port"))?;
        let port = port
            .parse()
            .map_err(|_| refused("the port is no number from 0 to 65535"))?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest
                .strip_suffix(']')
                .ok_or_else(|| refused("a bracket is not closed"))?,
            None if host.contains(':') => return Err(refused("a v6 address needs brackets")),
            None => host,
        };
        if host.is_empty() {
            return Err(refused("there is no host"));
        }
        Ok(Self::Tcp {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_read_and_written_alike() {
        for text in [
            "127.0.0.1:80",
            "localhost:0",
            "[::1]:65535",
            "unix:/run/game",
            "unix:game",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, reason) in [
            ("localhost", "no port"),
            (":80", "no host"),
            ("::1:80", "brackets"),
            ("[::1:80", "not closed"),
            ("localhost:65536", "65535"),
            ("localhost:", "65535"),
            ("unix:", "empty"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
