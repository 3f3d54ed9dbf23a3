//! Our messages to counterparties (DSP 2025-1, HTTPS bindings).

use super::Pids;
use crate::{
    Services,
    outbound::{OutboundError, OutboundRequest},
    trust::{TokenError, self_issued_token},
};
use bytes::Bytes;
use cellspace_cluster::{Address, DeliveryError};
use cellspace_schemas::{
    AgreementId, Did, MessageId, ParticipantContextId, Pid, TraceContext,
    dsp::{
        self, BaseUrl, SentContext,
        message::{Message, read, render},
        negotiation::ContractNegotiation,
        transfer::TransferProcess,
    },
};
use http::{HeaderMap, Method, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// Attempts at a first message until an answer that says "taken" and not by which process is believed to be the last word: some six seconds.
const NAMELESS_ATTEMPTS: u32 = 7;

/// A message as it is sent: what it is, its text, and its path below the counterparty's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    /// Its `@type`.
    pub kind: &'static str,
    /// Its text.
    pub body: Vec<u8>,
    /// Segments of its path.
    pub path: Vec<String>,
}

/// What a message begins with.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Its `@id`.
    pub id: &'a MessageId,
    /// The contexts of its profile.
    pub context: &'a SentContext,
}

impl Wire {
    /// Writes a message that begins so.
    ///
    /// # Errors
    /// Refused when it cannot be written.
    pub fn new<T: Message + Serialize>(message: &T, head: Head<'_>, path: &[&str]) -> Result<Self, DeliveryError> {
        let body = render(message, Some(head.id), head.context)
            .map_err(|e| DeliveryError::Refused(format!("the message cannot be written: {e}")))?;
        Ok(Self { kind: T::TYPE, body, path: path.iter().map(|segment| (*segment).to_owned()).collect() })
    }
}

/// From whom to whom a message goes.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// Who sends it.
    pub participant: &'a ParticipantContextId,
    /// To whom: the audience of its token.
    pub counterparty: &'a Did,
    /// Where it takes messages.
    pub address: &'a BaseUrl,
    /// Under which agreement, as soon as there is one; for the log.
    pub contract: Option<&'a AgreementId>,
    /// The credentials that the counterparty may ask us for.
    pub scopes: &'a [String],
    /// Both parties' ids of the process, as far as they are known: without the counterparty's the message is the first one.
    pub pids: Pids,
    /// JSON-LD contexts of the dataspace profile, which an answer may have.
    pub contexts: &'a [String],
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The trace it belongs to.
    pub trace: Option<TraceContext>,
}

/// What a message about a process is answered with.
pub trait Process: Message + DeserializeOwned {
    /// `(consumerPid, providerPid)` as it names them.
    fn pids(&self) -> (&Pid, &Pid);
}

impl Process for ContractNegotiation {
    fn pids(&self) -> (&Pid, &Pid) {
        (&self.consumer_pid, &self.provider_pid)
    }
}

impl Process for TransferProcess {
    fn pids(&self) -> (&Pid, &Pid) {
        (&self.consumer_pid, &self.provider_pid)
    }
}

/// Sends the message once; answers what the counterparty calls its process, if it says so. Taken: 2xx, for a first message with the process that it began.
/// Refused for good: 4xx but 408 and 429. Everything else may be taken later.
///
/// # Errors
/// [`DeliveryError`]
pub async fn send<P: Process>(services: &Services, to: Outgoing<'_>, message: Wire) -> Result<Option<Pid>, DeliveryError> {
    let Outgoing { participant, counterparty, address, contract, scopes, pids, contexts, attempt, trace } = to;
    let Wire { kind, body, path } = message;
    let url = address.below(&path.iter().map(String::as_str).collect::<Vec<_>>());
    let token = self_issued_token(services, participant, counterparty, scopes).await.map_err(|e| match e {
        // A participant that is switched off for a while goes on afterwards.
        TokenError::NoParticipant(_) | TokenError::NoKey(..) | TokenError::Unavailable(_) => DeliveryError::Retry(e.to_string()),
    })?;
    let request = OutboundRequest {
        method: Method::POST,
        url,
        bearer: Some(token),
        body: Some(body.into()),
        accept: Some("application/json"),
        trace,
    };
    let answer = services.http.send(request).await;
    let outcome = judge(answer.map(|a| (a.status, a.headers, a.body)))
        .and_then(|(status, body)| named(read::<P>(&body, contexts).ok().map(|answer| answer.body), &pids, status, attempt));
    let (status, reason) = match &outcome {
        Ok(_) => ("taken", None),
        Err(DeliveryError::Refused(reason)) => ("refused", Some(reason.as_str())),
        Err(DeliveryError::Retry(reason) | DeliveryError::Unreachable(reason) | DeliveryError::RetryAfter { reason, .. }) => {
            ("later", Some(reason.as_str()))
        }
    };
    tracing::info!(category = "dsp", vpa = %Address::of::<crate::ControlPlane>(participant), action = kind, counterparty = %counterparty,
        contract = contract.map(AgreementId::as_str), status, reason, "sent");
    outcome
}

/// What the counterparty calls its process, by the process in its answer. A first message is answered with the process that it began, and is sent again
/// until it is: whoever gets it twice knows it by our process. To later ones nothing need be said, and what is said does not matter.
fn named<P: Process>(process: Option<P>, pids: &Pids, status: StatusCode, attempt: u32) -> Result<Option<Pid>, DeliveryError> {
    let theirs = process.and_then(|process| {
        let (consumer, provider) = process.pids();
        pids.of_sender(Some(consumer), Some(provider)).ok()
    });
    if theirs.is_some() || !pids.is_first() {
        return Ok(theirs);
    }
    let reason = format!("answered {} without a {} of this process", status.as_u16(), P::TYPE);
    if attempt < NAMELESS_ATTEMPTS {
        return Err(DeliveryError::Retry(reason));
    }
    Err(DeliveryError::Refused(format!("{reason} (after {attempt} attempts)")))
}

/// What an answer means for the delivery.
///
/// # Errors
/// [`DeliveryError`]
pub fn judge(answer: Result<(StatusCode, HeaderMap, Bytes), OutboundError>) -> Result<(StatusCode, Bytes), DeliveryError> {
    let (status, headers, body) = answer?;
    if status.is_success() {
        return Ok((status, body));
    }
    let reason = match dsp::error::reason(&body) {
        Some(told) => format!("answered {}: {told}", status.as_u16()),
        None => format!("answered {}", status.as_u16()),
    };
    let later = status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    match (later, retry_after(&headers)) {
        (true, Some(after)) => Err(DeliveryError::RetryAfter { reason, after }),
        (true, None) => Err(DeliveryError::Retry(reason)),
        (false, _) => Err(DeliveryError::Refused(reason)),
    }
}

/// `Retry-After` in seconds; the form with a date is not worth a clock.
pub(in crate::control_plane) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::{super::Role, *};
    use cellspace_schemas::dsp::negotiation::NegotiationState;

    fn judged(status: u16, retry_after: Option<&'static str>, body: &'static str) -> Result<(StatusCode, Bytes), DeliveryError> {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(header::RETRY_AFTER, http::HeaderValue::from_static(value));
        }
        judge(Ok((StatusCode::from_u16(status).unwrap(), headers, Bytes::from_static(body.as_bytes()))))
    }

    #[test]
    fn statuses() {
        for taken in [200, 201, 202, 204] {
            assert!(judged(taken, None, "").is_ok(), "{taken}");
        }
        for refused in [301, 302, 400, 401, 403, 404, 409, 413, 422] {
            assert!(matches!(judged(refused, Some("1"), ""), Err(DeliveryError::Refused(_))), "{refused}");
        }
        for later in [408, 429, 500, 502, 503, 504] {
            assert!(matches!(judged(later, None, ""), Err(DeliveryError::Retry(_))), "{later}");
        }
        let waits = judged(503, Some("7"), "");
        assert_eq!(waits, Err(DeliveryError::RetryAfter { reason: "answered 503".into(), after: Duration::from_secs(7) }));
        assert!(matches!(judged(503, Some("Fri, 31 Dec 1999 23:59:59 GMT"), ""), Err(DeliveryError::Retry(_))));
    }

    #[test]
    fn the_reason_is_told_on() {
        let body = r#"{"@type":"TransferError","code":"400","reason":["use requires Membership"]}"#;
        assert_eq!(judged(400, None, body), Err(DeliveryError::Refused("answered 400: use requires Membership".into())));
        assert_eq!(judged(400, None, "<html>"), Err(DeliveryError::Refused("answered 400".into())));
    }

    #[test]
    fn a_first_message_is_answered_with_its_process() {
        let pid = |text: &str| Pid::new(text).unwrap();
        let process = |consumer, provider| {
            Some(ContractNegotiation { consumer_pid: pid(consumer), provider_pid: pid(provider), state: NegotiationState::Requested })
        };
        let first = Pids::new(Role::Consumer, pid("own"), None);
        let later = Pids::new(Role::Consumer, pid("own"), Some(&pid("theirs")));
        let told = |process, pids, attempt| named(process, pids, StatusCode::CREATED, attempt);
        for attempt in [1, NAMELESS_ATTEMPTS, NAMELESS_ATTEMPTS + 1] {
            assert_eq!(told(process("own", "theirs"), &first, attempt), Ok(Some(pid("theirs"))), "{attempt}");
            assert_eq!(told(process("own", "theirs"), &later, attempt), Ok(Some(pid("theirs"))), "{attempt}");
            for other in [None, process("other", "theirs"), process("own", "others")] {
                assert_eq!(told(other, &later, attempt), Ok(None), "{attempt}");
            }
            for other in [None, process("other", "theirs")] {
                let reason = "answered 201 without a ContractNegotiation of this process";
                let expected = if attempt < NAMELESS_ATTEMPTS {
                    DeliveryError::Retry(reason.into())
                } else {
                    DeliveryError::Refused(format!("{reason} (after {attempt} attempts)"))
                };
                assert_eq!(told(other, &first, attempt), Err(expected), "{attempt}");
            }
        }
    }

    #[test]
    fn targets_that_may_not_be_called_are_refused_for_good() {
        assert!(matches!(judge(Err(OutboundError::Forbidden("x".into()))), Err(DeliveryError::Refused(_))));
        for silent in [OutboundError::TimedOut("x".into()), OutboundError::Unreachable("x".into(), "no route".into())] {
            assert!(matches!(judge(Err(silent)), Err(DeliveryError::Unreachable(_))));
        }
    }
}
