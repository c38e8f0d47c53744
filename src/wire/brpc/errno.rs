//! The numbers by which a failure travels, and the codes they stand for.
//!
//! The names are those of brpc's `errno.proto`; numbers below 1000 are Linux's `errno`.

use crate::status::{Code, Status};

/// No such service.
pub const ENOSERVICE: i32 = 1001;
/// No such method.
pub const ENOMETHOD: i32 = 1002;
/// The request cannot be read; also what brpc's client says of a response.
pub const EREQUEST: i32 = 1003;
/// The caller is not who it must be.
pub const ERPCAUTH: i32 = 1004;
/// The time for the call ran out.
pub const ERPCTIMEDOUT: i32 = 1008;
/// The connection broke during the call.
pub const EFAILEDSOCKET: i32 = 1009;
/// Too many bytes wait to be written to the connection.
pub const EOVERCROWDED: i32 = 1011;
/// The peer closed the connection.
pub const EEOF: i32 = 1014;
/// Turned away while too few servers are up.
pub const EREJECT: i32 = 1018;
/// The handler failed.
pub const EINTERNAL: i32 = 2001;
/// The response cannot be written.
pub const ERESPONSE: i32 = 2002;
/// The server is stopping.
pub const ELOGOFF: i32 = 2003;
/// The server runs as many calls as it may.
pub const ELIMIT: i32 = 2004;
/// The server closes the connection.
pub const ECLOSE: i32 = 2005;

/// What is added to the number of a gRPC code that has no number of brpc's.
///
/// brpc's clients retry several of their own numbers by themselves (`ELIMIT`, `ELOGOFF`, `ENOENT`
/// and others), and what a handler said must not be retried unasked.
pub const CODES: i32 = 5000;

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const EEXIST: i32 = 17;
const EINVAL: i32 = 22;
const EPIPE: i32 = 32;
const ERANGE: i32 = 34;
/// brpc's clients: no server is known.
const ENODATA: i32 = 61;
const ECONNRESET: i32 = 104;
/// brpc's clients: no connection in time.
const ETIMEDOUT: i32 = 110;
const ECONNREFUSED: i32 = 111;
/// brpc's clients: the server was given up until a health check succeeds.
const EHOSTDOWN: i32 = 112;
const EHOSTUNREACH: i32 = 113;
const EDQUOT: i32 = 122;
const ECANCELED: i32 = 125;

/// The code that a received number stands for.
#[must_use]
pub fn code_of(native: i32) -> Code {
    match native {
        ENOSERVICE | ENOMETHOD => Code::Unimplemented,
        EREQUEST | EINVAL => Code::InvalidArgument,
        ERPCAUTH => Code::Unauthenticated,
        ERPCTIMEDOUT => Code::DeadlineExceeded,
        EFAILEDSOCKET | EEOF | EREJECT | ELOGOFF | ECLOSE | EPIPE | ENODATA | ECONNRESET
        | ETIMEDOUT | ECONNREFUSED | EHOSTDOWN | EHOSTUNREACH => Code::Unavailable,
        EOVERCROWDED | ELIMIT | EDQUOT => Code::ResourceExhausted,
        EINTERNAL | ERESPONSE => Code::Internal,
        ECANCELED => Code::Cancelled,
        EPERM | EACCES => Code::PermissionDenied,
        ENOENT => Code::NotFound,
        EEXIST => Code::AlreadyExists,
        ERANGE => Code::OutOfRange,
        _ => u8::try_from(native.saturating_sub(CODES))
            .ok()
            .and_then(Code::from_number)
            .filter(|&code| code != Code::Ok)
            .unwrap_or(Code::Unknown),
    }
}

/// The number to send for one that a handler chose. Those by which a server says that it did not
/// run a call would have the call made again, though its handler ran: the code that they stand for
/// is sent as a handler's code is.
#[must_use]
pub fn chosen(native: i32) -> i32 {
    match native {
        ELOGOFF | ELIMIT => CODES + i32::from(code_of(native).number()),
        native => native,
    }
}

/// The number to send for a failure, never 0, which would say that the call succeeded: its own, or
/// else that of its code.
#[must_use]
pub fn native_of(status: &Status) -> i32 {
    match (status.native, status.code) {
        (Some(native), _) if native != 0 => native,
        (_, Code::Cancelled) => ECANCELED,
        (_, Code::InvalidArgument) => EREQUEST,
        (_, Code::DeadlineExceeded) => ERPCTIMEDOUT,
        (_, Code::Unimplemented) => ENOMETHOD,
        (_, Code::Ok | Code::Internal) => EINTERNAL,
        (_, Code::Unauthenticated) => ERPCAUTH,
        (_, code) => CODES + i32::from(code.number()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_comes_back_as_the_code_it_was_sent_as() {
        for code in Code::ALL {
            let native = native_of(&Status::new(code, ""));
            assert_ne!(native, 0);
            let back = if code == Code::Ok {
                Code::Internal
            } else {
                code
            };
            assert_eq!(code_of(native), back, "{native}");
        }
    }

    #[test]
    fn the_whole_table() {
        let table: [(Code, &[i32]); 16] = [
            (Code::Cancelled, &[125, 5001]),
            (Code::Unknown, &[0, -1, 1234, 5000, 5002, 5017, i32::MIN]),
            (Code::InvalidArgument, &[22, 1003, 5003]),
            (Code::DeadlineExceeded, &[1008, 5004]),
            (Code::NotFound, &[2, 5005]),
            (Code::AlreadyExists, &[17, 5006]),
            (Code::PermissionDenied, &[1, 13, 5007]),
            (Code::ResourceExhausted, &[122, 1011, 2004, 5008]),
            (Code::FailedPrecondition, &[5009]),
            (Code::Aborted, &[5010]),
            (Code::OutOfRange, &[34, 5011]),
            (Code::Unimplemented, &[1001, 1002, 5012]),
            (Code::Internal, &[2001, 2002, 5013]),
            (
                Code::Unavailable,
                &[
                    32, 61, 104, 110, 111, 112, 113, 1009, 1014, 1018, 2003, 2005, 5014,
                ],
            ),
            (Code::DataLoss, &[5015]),
            (Code::Unauthenticated, &[1004, 5016]),
        ];
        for (code, numbers) in table {
            for &native in numbers {
                assert_eq!(code_of(native), code, "{native}");
            }
        }
    }

    #[test]
    fn what_brpc_retries_by_itself_is_sent_for_no_code() {
        let retried = [
            1009, 1014, 112, 2003, 110, 2004, 2, 32, 111, 104, 61, 1011, 1017,
        ];
        for code in Code::ALL {
            let native = native_of(&Status::new(code, ""));
            assert!(!retried.contains(&native), "{code}");
        }
    }

    #[test]
    fn no_handler_says_that_its_call_was_not_run() {
        assert_eq!(
            [ELOGOFF, ELIMIT, 1234, 2].map(chosen),
            [5014, 5008, 1234, 2]
        );
        for native in [ELOGOFF, ELIMIT] {
            assert_eq!(code_of(chosen(native)), code_of(native));
        }
    }

    #[test]
    fn a_number_of_its_own_is_sent_as_it_is_unless_it_says_success() {
        let status = |native| Status::new(Code::NotFound, "").with_native(native);
        for native in [1234, -7, ELIMIT, i32::MIN] {
            assert_eq!(native_of(&status(native)), native);
        }
        assert_eq!(native_of(&status(0)), 5005);
    }
}
