//! The provider's side: a counterparty asks for the catalog or for a dataset.

use super::{Cursor, Viewer, page::DATASET_PATHS, render};
use crate::{
    Services,
    control_plane::{
        ControlPlane, ControlPlaneState,
        dsp::{
            Refusal, Sender,
            incoming::{self, Proof},
        },
        policy::{Evaluation, PolicyScope},
        scopes::scopes_for_operands,
    },
    settings::DataspaceProfile,
};
use cellspace_cluster::{Address, AskError, PrepareError};
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
pub type NotServed = PrepareError<Refusal>;

/// The state of a participant.
async fn state_of(services: &Services, participant: &ParticipantContextId) -> Result<Arc<ControlPlaneState>, NotServed> {
    services.cluster.snapshot::<ControlPlane>(&Address::of::<ControlPlane>(participant)).await.map_err(|error| match error {
        AskError::NotRegistered => Refusal::NotFound.into(),
        other => PrepareError::Unavailable(other.to_string()),
    })
}

/// The profiles that an active participant uses (version discovery).
///
/// # Errors
/// [`Refusal::NotFound`] when it does not exist or is not active.
pub async fn served_profiles(services: &Services, participant: &ParticipantContextId) -> Result<Vec<DataspaceProfile>, NotServed> {
    let state = state_of(services, participant).await?;
    let settings = services.settings.load();
    let own = state.active().map_err(|_| Refusal::NotFound)?.profiles(&settings);
    Ok(own.iter().filter_map(|name| settings.profiles.get(name)).cloned().collect())
}

/// The token of a call.
fn token<'a>(call: CatalogCall<'a>) -> Result<&'a str, Refusal> {
    call.token.ok_or_else(|| Refusal::Unauthenticated("a bearer token is required".to_owned()))
}

/// Verifies the counterparty, asking for what the access policies name.
async fn verified(services: &Services, call: CatalogCall<'_>, state: &ControlPlaneState) -> Result<Sender, NotServed> {
    let proof = Proof { profile: call.profile, token: token(call)?, call: None, believe_absence: true };
    incoming::sender(services, state, proof, |settings| scopes_for_operands(settings, call.profile, state.resources.access_operands()))
        .await
}

/// What a verified counterparty looks at; `url` is the DSP base that it asks.
fn viewer<'a>(services: &Services, url: &str, state: &'a ControlPlaneState, sender: &'a Sender) -> Viewer<'a> {
    let evaluation = Evaluation::new(PolicyScope::Catalog, &sender.settings, &sender.agent, services.cluster.now());
    Viewer::new(state, evaluation, url)
}

/// Answers `POST /catalog/request`.
///
/// # Errors
/// [`NotServed`]
pub async fn serve_catalog(
    services: &Services,
    call: CatalogCall<'_>,
    body: &[u8],
    continuation: Option<&str>,
) -> Result<CatalogAnswer, NotServed> {
    let state = state_of(services, call.participant).await?;
    let settings = services.settings.load();
    let (participant, profile) = incoming::receiver(&state, &settings, call.profile)?;
    token(call)?;
    let message = dsp::message::read::<CatalogRequestMessage>(body, &profile.contexts).map_err(|e| Refusal::Invalid(e.to_string()))?;
    let query = filter(&message.body)?;
    let cursor = match continuation {
        None => None,
        Some(token) => Some(Cursor::parse(token).ok_or_else(|| Refusal::Invalid("unknown continuationToken".to_owned()))?),
    };
    let sender = verified(services, call, &state).await?;
    let url = services.urls.dsp(call.participant, &profile.path);
    let viewer = viewer(services, &url, &state, &sender);
    let page = viewer.page(&query, cursor.as_ref());
    let link = |cursor: Cursor| format!("{url}/catalog/request?continuationToken={}", cursor.token());
    let body = viewer.catalog(&page, &participant.identity, settings.context(call.profile));
    Ok(CatalogAnswer { body, next: page.next.map(link), previous: page.previous.map(link) })
}

/// Answers `GET /catalog/datasets/{id}`.
///
/// # Errors
/// [`NotServed`]; a hidden dataset is not found, like one that does not exist.
pub async fn serve_dataset(services: &Services, call: CatalogCall<'_>, id: &AssetId) -> Result<String, NotServed> {
    let state = state_of(services, call.participant).await?;
    let settings = services.settings.load();
    let (_, profile) = incoming::receiver(&state, &settings, call.profile)?;
    let sender = verified(services, call, &state).await?;
    let url = services.urls.dsp(call.participant, &profile.path);
    let dataset = viewer(services, &url, &state, &sender).dataset(id).ok_or(Refusal::NotFound)?;
    Ok(render::root_dataset(&dataset, settings.context(call.profile)))
}

/// The query in a message's filter: none, or one `QuerySpec` that does not sort.
fn filter(message: &CatalogRequestMessage) -> Result<QuerySpec, Refusal> {
    let unsupported = || Refusal::Invalid("a filter is one QuerySpec without a sort".to_owned());
    match message.filter.as_slice() {
        [] => Ok(QuerySpec::default()),
        [one] if one.is_object() => {
            let query = QuerySpec::from_json(one, "$.filter[0]", &DATASET_PATHS).map_err(|found| {
                Refusal::Invalid(found.iter().map(|v| format!("{}: {}", v.path, v.message)).collect::<Vec<_>>().join("; "))
            })?;
            if query.sort.is_some() { Err(unsupported()) } else { Ok(query) }
        }
        _ => Err(unsupported()),
    }
}
