//! Options, field by field as in `options.py` and `protocols.py`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::call::Limits;
use crate::net::client::ChannelOptions;
use crate::net::server::Bounds;
use crate::net::terms::Offer;
use crate::net::{Timeouts, Unfinished};
use crate::schema::Method;
use crate::wire::baidu_std::BaiduStdCodec;
use crate::wire::hulu::HuluCodec;
use crate::wire::indexed::{ByteOrder, IndexedCodec, Layout, LengthCovers, Reply};
use crate::wire::sofa::SofaCodec;
use crate::wire::{Answers, Codec, limits};

/// `callmethod.Indexed`.
pub(super) struct Indexed {
    pub(super) layout: Layout,
    pub(super) coalesce: bool,
    pub(super) close_on_bad_body: bool,
}

fn one_of<T: Copy>(options: &Bound<'_, PyAny>, field: &str, values: &[(&str, T)]) -> PyResult<T> {
    let given: String = options.getattr(field)?.extract()?;
    let found = values
        .iter()
        .find(|(name, _)| *name == given)
        .map(|&(_, value)| value);
    found.ok_or_else(|| {
        let names: Vec<_> = values.iter().map(|(name, _)| format!("{name:?}")).collect();
        PyValueError::new_err(format!(
            "{field} must be one of {}, not {given:?}",
            names.join(", ")
        ))
    })
}

impl Indexed {
    /// Reads and checks the options; `max_length` falls back on the message limit in bytes.
    pub(super) fn read(options: &Bound<'_, PyAny>, message_limit: u64) -> PyResult<Self> {
        let number = |field| options.getattr(field)?.extract::<usize>();
        let max_length: Option<u64> = options.getattr("max_length")?.extract()?;
        let layout = Layout {
            byte_order: one_of(
                options,
                "byte_order",
                &[("little", ByteOrder::Little), ("big", ByteOrder::Big)],
            )?,
            length_width: number("length_width")?,
            length_covers: one_of(
                options,
                "length_covers",
                &[
                    ("after_length", LengthCovers::AfterLength),
                    ("whole_frame", LengthCovers::WholeFrame),
                    ("body_only", LengthCovers::BodyOnly),
                ],
            )?,
            index_width: number("index_width")?,
            id_width: number("id_width")?,
            reply: one_of(
                options,
                "reply",
                &[
                    ("none", Reply::None),
                    ("by_id", Reply::ById),
                    ("in_order", Reply::InOrder),
                ],
            )?,
            max_length: max_length.unwrap_or(message_limit),
        };
        Ok(Self {
            layout: layout.checked()?,
            coalesce: options.getattr("coalesce")?.extract()?,
            close_on_bad_body: one_of(options, "on_bad_body", &[("close", true), ("skip", false)])?,
        })
    }
}

/// A protocol and what belongs to it beside its codec.
pub(super) struct Protocol {
    pub(super) codec: Arc<dyn Codec>,
    pub(super) coalesce: bool,
    pub(super) close_on_bad_body: bool,
}

impl Protocol {
    /// Reads `callmethod.Indexed` or one of its kind.
    pub(super) fn read(options: &Bound<'_, PyAny>) -> PyResult<Self> {
        let name: String = options.getattr("name")?.extract()?;
        if name == "indexed" {
            let indexed = Indexed::read(options, limits::MESSAGE_BYTES)?;
            return Ok(Self {
                codec: Arc::new(IndexedCodec::new(indexed.layout)),
                coalesce: indexed.coalesce,
                close_on_bad_body: indexed.close_on_bad_body,
            });
        }
        let max_length: Option<u64> = options.getattr("max_length")?.extract()?;
        let limit = max_length.unwrap_or(limits::MESSAGE_BYTES);
        if !(1..=limits::MESSAGE_BYTES_CEILING).contains(&limit) {
            let most = limits::MESSAGE_BYTES_CEILING;
            let text = format!("max_length must be between 1 and {most} bytes, not {limit}");
            return Err(PyValueError::new_err(text));
        }
        let codec: Arc<dyn Codec> = match name.as_str() {
            "baidu_std" => Arc::new(BaiduStdCodec::new(limit)),
            "hulu_pbrpc" => Arc::new(HuluCodec::new(limit)),
            "sofa_pbrpc" => Arc::new(SofaCodec::new(limit)),
            other => return Err(PyValueError::new_err(format!("no protocol {other:?}"))),
        };
        Ok(Self {
            codec,
            coalesce: options.getattr("coalesce")?.extract()?,
            close_on_bad_body: true,
        })
    }
}

/// What a protocol can carry: `(answers, failures, credentials, metadata, push)`.
///
/// Push is for one-way wires, and for those on which calls can be told from answers and a caller
/// can say that it serves.
#[pyfunction]
pub(super) fn traits(protocol: &Bound<'_, PyAny>) -> PyResult<(bool, bool, bool, bool, bool)> {
    let traits = Protocol::read(protocol)?.codec.traits();
    let answers = traits.answers != Answers::Never;
    Ok((
        answers,
        traits.failures,
        traits.credentials,
        traits.metadata,
        traits.both_ways && (traits.metadata || !answers),
    ))
}

/// `callmethod.ServerOptions`.
pub(super) struct ServerOptions {
    pub(super) limits: Limits,
    /// Bounds of single methods, by full name.
    pub(super) methods: HashMap<String, usize>,
    pub(super) bounds: Bounds,
    pub(super) timeouts: Timeouts,
    pub(super) unfinished: Unfinished,
}

impl ServerOptions {
    pub(super) fn read(options: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self {
            limits: Limits {
                concurrency: options.getattr("max_concurrency")?.extract()?,
                queued: options.getattr("max_queued_calls")?.extract()?,
                queue_time: seconds(options.getattr("max_queue_time")?.extract()?)?,
            },
            methods: options.getattr("method_max_concurrency")?.extract()?,
            timeouts: Timeouts {
                idle: match options.getattr("idle_timeout")?.extract()? {
                    None => None,
                    Some(idle) => Some(seconds(idle)?),
                },
                ..timeouts(options)?
            },
            unfinished: Unfinished::of(options.getattr("max_unfinished_bytes")?.extract()?),
            bounds: Bounds {
                connections: options.getattr("max_connections")?.extract()?,
                handshakes: options.getattr("max_handshakes")?.extract()?,
                handshake_timeout: seconds(options.getattr("handshake_timeout")?.extract()?)?,
            },
        })
    }
}

/// How long a peer may keep this end waiting, as both kinds of options say it.
pub(super) fn timeouts(options: &Bound<'_, PyAny>) -> PyResult<Timeouts> {
    let duration = |field| seconds(options.getattr(field)?.extract()?);
    Ok(Timeouts {
        idle: None,
        frame: duration("frame_timeout")?,
        write: duration("write_timeout")?,
    })
}

/// The bounds of single methods by service and method.
pub(super) fn bounds(
    offer: &Offer,
    methods: &HashMap<String, usize>,
) -> PyResult<Vec<Vec<Option<usize>>>> {
    if methods.is_empty() {
        return Ok(Vec::new());
    }
    let Offer::Services(registry) = offer else {
        return Err(PyValueError::new_err(
            "method_max_concurrency goes with services that are known at the start, not with factories",
        ));
    };
    let mut unused: HashSet<&str> = methods.keys().map(String::as_str).collect();
    let mut bound = |method: &Method| {
        unused.remove(method.full_name.as_str());
        methods.get(&method.full_name).copied()
    };
    let bounds = registry
        .services()
        .iter()
        .map(|service| service.methods().methods().iter().map(&mut bound).collect())
        .collect();
    match unused.iter().min() {
        None => Ok(bounds),
        Some(name) => Err(PyValueError::new_err(format!(
            "method_max_concurrency names {name:?}, which is not served; it takes full names, \
             as in game.GameService.connect_server"
        ))),
    }
}

/// What `callmethod.ChannelOptions` says about who calls.
pub(super) fn credential(options: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    let credential: Option<Vec<u8>> = options.getattr("credential")?.extract()?;
    Ok(credential.unwrap_or_default().into())
}

/// More than any process runs, and so little that it can be added to any time.
const FOREVER: f64 = 1e10;

/// Seconds; negative ones count as none at all, and there is an end to what is counted.
pub(super) fn seconds(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds.clamp(0.0, FOREVER))
        .map_err(|error| PyValueError::new_err(format!("{seconds} s: {error}")))
}

/// `callmethod.ChannelOptions`.
pub(super) fn channel(options: &Bound<'_, PyAny>, serves: bool) -> PyResult<ChannelOptions> {
    let duration = |field| seconds(options.getattr(field)?.extract()?);
    Ok(ChannelOptions {
        wait_for_ready: options.getattr("wait_for_ready")?.extract()?,
        keep_connected: serves,
        connect_timeout: duration("connect_timeout")?,
        backoff_min: duration("backoff_min")?,
        backoff_max: duration("backoff_max")?,
        max_retry: options.getattr("max_retry")?.extract()?,
        pooled: options.getattr("pool_size")?.extract()?,
    })
}
