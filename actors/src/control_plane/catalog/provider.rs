//! The provider's side: a counterparty asks for the catalog or for a dataset.

use super::{Cursor, Viewer, page::DATASET_PATHS, render};
use crate::{
    Services,
    control_plane::{
        ControlPlane, ControlPlaneState,
        peer::{self, PeerCall},
        policy::{Evaluation, ParticipantAgent, PolicyScope},
        scopes::scopes_for_operands,
    },
    settings::{DataspaceProfile, Settings},
    trust::PeerError,
};
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::{
    AssetId, ParticipantContextId, ProfileId, QuerySpec,
    dsp::{self, catalog::CatalogRequestMessage},
};
use std::sync::Arc;

/// Who is asked, as the URL says, and with which token.
#[derive(Debug, Clone, Copy)]
pub struct CatalogCall<'a> {
    /// The participant.
    pub participant: &'a ParticipantContextId,
    /// The profile.
    pub profile: &'a ProfileId,
    /// The bearer token, when there is one.
    pub token: Option<&'a str>,
}

/// A page of the catalog as it goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogAnswer {
    /// The catalog.
    pub body: String,
    /// URL of the next page.
    pub next: Option<String>,
    /// URL of the previous page.
    pub previous: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// No such participant, profile or dataset here, or not for this counterparty.
    #[error("not found")]
    NotFound,
    /// The token is missing or refused.
    #[error("{0}")]
    Unauthenticated(String),
    /// The message is wrong.
    #[error("{0}")]
    Invalid(String),
    /// Something needed is out of reach; the counterparty may try again.
    #[error("{0}")]
    Unavailable(String),
}

impl From<PeerError> for ServeError {
    fn from(error: PeerError) -> Self {
        match error {
            PeerError::Refused(why) => Self::Unauthenticated(why),
            PeerError::TooEarly | PeerError::Unreachable(_) => Self::Unavailable(error.to_string()),
        }
    }
}

/// The state of a participant.
async fn state_of(services: &Services, participant: &ParticipantContextId) -> Result<ControlPlaneState, ServeError> {
    let address = Address::of::<ControlPlane>(participant);
    services.cluster.read::<ControlPlane, _>(&address, ControlPlaneState::clone).await.map_err(|error| match error {
        AskError::NotRegistered => ServeError::NotFound,
        other => ServeError::Unavailable(other.to_string()),
    })
}

/// The profiles that an active participant uses (version discovery).
///
/// # Errors
/// [`ServeError::NotFound`] when it does not exist or is not active.
pub async fn served_profiles(services: &Services, participant: &ParticipantContextId) -> Result<Vec<DataspaceProfile>, ServeError> {
    let state = state_of(services, participant).await?;
    let settings = services.settings.load();
    let own = state.active().map_err(|_| ServeError::NotFound)?.profiles();
    Ok(own.iter().filter_map(|name| settings.profiles.get(name)).cloned().collect())
}

/// The state of an active participant that uses the profile, and the settings.
async fn open(services: &Services, call: CatalogCall<'_>) -> Result<(ControlPlaneState, Arc<Settings>), ServeError> {
    let state = state_of(services, call.participant).await?;
    let settings = services.settings.load();
    let known =
        state.active().is_ok_and(|participant| participant.has_profile(call.profile)) && settings.profiles.contains_key(call.profile);
    if known { Ok((state, settings)) } else { Err(ServeError::NotFound) }
}

/// Verifies the counterparty, asking for what the access policies name.
async fn verified(
    services: &Services,
    call: CatalogCall<'_>,
    state: &ControlPlaneState,
    settings: &Settings,
) -> Result<ParticipantAgent, ServeError> {
    let token = call.token.ok_or_else(|| ServeError::Unauthenticated("a bearer token is required".to_owned()))?;
    let scopes = scopes_for_operands(settings, call.profile, state.resources.access_operands());
    let participant = state.active().map_err(|_| ServeError::NotFound)?;
    let peer = PeerCall { participant, profile: call.profile, token, call: None, scopes: &scopes, believe_absence: true };
    Ok(peer::verify(services, settings, peer).await?)
}

/// Answers `POST /catalog/request`.
///
/// # Errors
/// [`ServeError`]
pub async fn serve_catalog(
    services: &Services,
    call: CatalogCall<'_>,
    body: &[u8],
    continuation: Option<&str>,
) -> Result<CatalogAnswer, ServeError> {
    let (state, settings) = open(services, call).await?;
    if call.token.is_none() {
        return Err(ServeError::Unauthenticated("a bearer token is required".to_owned()));
    }
    let contexts = settings.profiles.get(call.profile).map_or(&[][..], |profile| &profile.contexts);
    let message = dsp::message::read::<CatalogRequestMessage>(body, contexts).map_err(|e| ServeError::Invalid(e.to_string()))?;
    let query = filter(&message.body)?;
    let cursor = match continuation {
        None => None,
        Some(token) => Some(Cursor::parse(token).ok_or_else(|| ServeError::Invalid("unknown continuationToken".to_owned()))?),
    };
    let agent = verified(services, call, &state, &settings).await?;
    let participant = state.active().map_err(|_| ServeError::NotFound)?;
    let url = services.urls.dsp(call.participant, call.profile);
    let evaluation =
        Evaluation { scope: PolicyScope::Catalog, settings: &settings, agent: &agent, agreement: None, now: services.cluster.now() };
    let page = Viewer::new(&state, evaluation, &url).page(&query, cursor.as_ref());
    let link = |cursor: Cursor| format!("{url}/catalog/request?continuationToken={}", cursor.token());
    Ok(CatalogAnswer {
        body: render::catalog(&page.datasets, &page.catalogs, &participant.identity, &url),
        next: page.next.map(link),
        previous: page.previous.map(link),
    })
}

/// Answers `GET /catalog/datasets/{id}`.
///
/// # Errors
/// [`ServeError`]; a hidden dataset is not found, like one that does not exist.
pub async fn serve_dataset(services: &Services, call: CatalogCall<'_>, id: &AssetId) -> Result<String, ServeError> {
    let (state, settings) = open(services, call).await?;
    let agent = verified(services, call, &state, &settings).await?;
    let url = services.urls.dsp(call.participant, call.profile);
    let evaluation =
        Evaluation { scope: PolicyScope::Catalog, settings: &settings, agent: &agent, agreement: None, now: services.cluster.now() };
    let dataset = Viewer::new(&state, evaluation, &url).dataset(id).ok_or(ServeError::NotFound)?;
    Ok(render::root_dataset(&dataset))
}

/// The query in a message's filter: none, or one `QuerySpec` that does not sort.
fn filter(message: &CatalogRequestMessage) -> Result<QuerySpec, ServeError> {
    let unsupported = || ServeError::Invalid("a filter is one QuerySpec without a sort".to_owned());
    match message.filter.as_slice() {
        [] => Ok(QuerySpec::default()),
        [one] if one.is_object() => {
            let query = QuerySpec::from_json(one, "$.filter[0]", &DATASET_PATHS).map_err(|found| {
                ServeError::Invalid(found.iter().map(|v| format!("{}: {}", v.path, v.message)).collect::<Vec<_>>().join("; "))
            })?;
            if query.sort.is_some() { Err(unsupported()) } else { Ok(query) }
        }
        _ => Err(unsupported()),
    }
}
