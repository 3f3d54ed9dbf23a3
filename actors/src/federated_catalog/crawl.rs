//! One look at a target: where it is, then its catalog page by page, as any counterparty reads it.

use super::{
    MAX_PAGES,
    agent::{Effect, Found, Sighted, address, installation},
    gather::{Gathered, Unusable},
    link::next_page,
    overview::state,
};
use crate::{
    ControlPlane, Services,
    control_plane::{
        Participant,
        catalog::{Exchange, RequestError, discover, exchange, told},
        scopes::all_scopes,
    },
};
use cellspace_cluster::{Address, AskError, DeliveryError};
use cellspace_schemas::{
    Owner, ParticipantContextId,
    dsp::{
        self, BaseUrl,
        catalog::{CatalogRequestMessage, compacted_catalog},
    },
    management::DiscoveryRequest,
};
use http::header;
use std::{collections::HashSet, time::Duration};
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

/// How long one look takes at most, whatever the target does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks at the target with the credentials of the agent's owner. What the target does is found out; what is wrong here is tried again.
pub(super) async fn crawl(services: &Services, owner: &Owner, effect: &Effect) -> Result<Found, DeliveryError> {
    let address = Address::of::<ControlPlane>(owner.clone());
    let participant = match services.cluster.read::<ControlPlane, _>(&address, |state| state.participant.clone()).await {
        Ok(Some(participant)) => participant,
        Ok(None) | Err(AskError::NotRegistered) => return Ok(Found::Gone),
        Err(other) => return Err(DeliveryError::Retry(other.to_string())),
    };
    if !is_named(services, &participant.id, effect).await? {
        return Ok(Found::Unnamed);
    }
    let found = match look(services, &participant, effect).await {
        Ok(sighted) => Found::Seen(Box::new(sighted)),
        Err(RequestError::Unavailable(why)) => return Err(DeliveryError::Retry(why)),
        Err(error) => Found::Failed(error.to_string()),
    };
    // A target that was taken out meanwhile is forgotten, whatever it showed.
    if !is_named(services, &participant.id, effect).await? {
        return Ok(Found::Unnamed);
    }
    let reason = if let Found::Failed(reason) = &found { Some(reason.as_str()) } else { None };
    tracing::info!(category = "dsp", vpa = %address, action = "catalog.crawled", counterparty = %effect.key.target, reason, "crawled");
    Ok(found)
}

/// Whether the participant or the installation still names the target so.
async fn is_named(services: &Services, participant: &ParticipantContextId, effect: &Effect) -> Result<bool, DeliveryError> {
    for names in [address(participant), installation()] {
        let state = state(services, &names).await.map_err(|error| DeliveryError::Retry(error.to_string()))?;
        if state.names(&effect.key, effect.url.as_ref()) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn look(services: &Services, participant: &Participant, effect: &Effect) -> Result<Sighted, RequestError> {
    let until = Instant::now() + PATIENCE;
    let late = |_| RequestError::BadGateway(format!("the target did not answer within {} s", PATIENCE.as_secs()));
    let profile = participant.profile_for(Some(&effect.key.profile), &services.settings.load()).map_err(RequestError::Invalid)?;
    let named = DiscoveryRequest { counter_party_id: Some(effect.key.target.clone()), counter_party_address: effect.url.clone() };
    let served = timeout_at(until, discover(services, &participant.id, &named, None)).await.map_err(late)??;
    let served = served.into_iter().find(|served| served.profile == profile);
    let not_served = || RequestError::BadGateway(format!("the target does not serve the dataspace profile {profile}"));
    let address: BaseUrl = served.ok_or_else(not_served)?.counter_party_address.parse().map_err(|_| not_served())?;
    let settings = services.settings.load();
    let scopes = all_scopes(&settings, &profile);
    let body = dsp::message::render(&CatalogRequestMessage::default(), None, settings.context(&profile));
    let body = body.map_err(|e| RequestError::Invalid(e.to_string()))?;
    let (mut gathered, mut visited) = (Gathered::of(effect.key.target.clone()), HashSet::new());
    let unusable = |why: Unusable| RequestError::BadGateway(why.to_string());
    let mut page = Some(address.below(&["catalog", "request"]));
    while let Some(url) = page.take().filter(|url| visited.insert(url.clone())) {
        if visited.len() > MAX_PAGES || gathered.room() == 0 {
            gathered.cut();
            break;
        }
        let asked = Exchange {
            participant: &participant.id,
            counterparty: &effect.key.target,
            url: url.clone(),
            scopes: &scopes,
            body: Some(body.clone()),
            limit: gathered.room(),
            trace: None,
        };
        let answered = match timeout_at(until, exchange(services, asked)).await {
            // What was read until then is worth showing.
            Err(_) | Ok(Err(RequestError::TooLong(_))) if !gathered.is_empty() => {
                gathered.cut();
                break;
            }
            answered => answered.map_err(late)??,
        };
        // A page may be long: no thread of the executor is held up by it.
        let (known, services, profile, headers) = (gathered, services.clone(), profile.clone(), answered.headers);
        let added = spawn_blocking(move || {
            let mut gathered = known;
            let page = told(&services, &profile, answered.value, "catalog", compacted_catalog)?;
            gathered.add(page, answered.bytes).map_err(unusable)?;
            Ok::<_, RequestError>(gathered)
        });
        gathered = added.await.map_err(|ended| RequestError::Unavailable(ended.to_string()))??;
        if gathered.is_cut() {
            break;
        }
        let links = headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
        page = next_page(links, &url, &address);
    }
    gathered.sighted(address).map_err(unusable)
}
