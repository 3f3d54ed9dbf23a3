//! A client that comes again when it is told to.

use http::{HeaderMap, StatusCode, header};
use std::time::Duration;

/// How long a request to the platform is repeated that it asks to have again.
pub const PATIENT: Duration = Duration::from_secs(8);

/// When to ask again, where the answer says that nothing was done and names a time, as a client does that keeps to it.
pub fn again_after(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let named = headers.get(header::RETRY_AFTER).filter(|_| status == StatusCode::SERVICE_UNAVAILABLE)?;
    named.to_str().ok()?.parse().ok().map(Duration::from_secs)
}
