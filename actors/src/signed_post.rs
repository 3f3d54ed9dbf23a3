//! Posts to receivers that a participant's client has named: signed by the participant, taken when the receiver says so.

use crate::{Services, control_plane::dsp::client, trust::SigningKey};
use cellspace_cluster::DeliveryError;
use cellspace_schemas::{TraceContext, management::callback_address::SIGNATURE_HEADER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use url::Url;

/// Most that is read of an answer, in bytes.
const MAX_ANSWER: usize = 16 << 10;

/// What is posted.
pub struct Post {
    /// Where to.
    pub url: Url,
    /// Headers beside the signature.
    pub headers: HeaderMap,
    /// The body, JSON.
    pub body: Vec<u8>,
    /// What the body is, in the header of its signature: so that it is taken for nothing else that the participant signs.
    pub typ: &'static str,
}

/// Posts once, with the detached signature of the body. Taken: 2xx. Whatever else a receiver answers, it may be about to become ready, so that it is asked
/// again; one that says that it is gone for good (410) is believed.
///
/// # Errors
/// [`DeliveryError`]
pub async fn send(services: &Services, key: &SigningKey, post: Post, trace: Option<TraceContext>) -> Result<(), DeliveryError> {
    let Post { url, mut headers, body, typ } = post;
    let signature = key.sign_detached(services.vault.as_ref(), typ, &body).await.map_err(|e| DeliveryError::Retry(e.to_string()))?;
    let signature = HeaderValue::from_str(&signature).map_err(|e| DeliveryError::Refused(e.to_string()))?;
    headers.insert(HeaderName::from_static(SIGNATURE_HEADER), signature);
    let answer = services.http.post(url, headers, body.into(), trace, MAX_ANSWER).await;
    let gone = answer.as_ref().is_ok_and(|answer| answer.status == StatusCode::GONE);
    let answered = answer.is_ok();
    match client::judge(answer.map(|a| (a.status, a.headers, a.body))) {
        Ok(_) => Ok(()),
        Err(DeliveryError::Refused(reason)) if answered && !gone => Err(DeliveryError::Retry(reason)),
        Err(error) => Err(error),
    }
}
