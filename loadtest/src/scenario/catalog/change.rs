//! Changes of assets, policies and contract definitions, each of which the next answer must show.

use super::{
    Asker,
    setup::{Dataspace, Provider, must},
};
use anyhow::{Context, Result};
use http::Method;
use rand::RngExt;
use std::sync::Arc;

/// Changes a random provider, which the next request must see. `None` when another worker is changing that provider.
pub async fn make(asker: &mut Asker) -> Result<Option<Arc<Provider>>> {
    let cast = Arc::clone(&asker.cast);
    let provider = cast.provider(&mut asker.random)?;
    let Ok(_held) = provider.change.try_lock() else { return Ok(None) };
    let mut offers = provider.model.offers();
    let n = asker.random.random_range(0..offers.len());
    let offer = offers.get_mut(n).context("an offer")?;
    let path = |resource: &str| Dataspace::path(&provider.context, resource);
    let (space, asset) = (&cast.space, offer.asset.clone());
    let call = match asker.random.random_range(0..3) {
        0 => {
            offer.revision += 1;
            space.call(Method::PUT, path("assets"), &space.asset(&asset, offer.revision))
        }
        1 => {
            offer.access = offer.access.turned();
            space.call(Method::PUT, path(&format!("policydefinitions/{}", offer.policy)), &space.policy(&offer.policy, offer.access))
        }
        _ => {
            offer.access = offer.access.turned();
            offer.policy = format!("policy-{}", uuid::Uuid::new_v4().simple());
            let policy = space.policy(&offer.policy, offer.access);
            must(&mut asker.admin, space.call(Method::POST, path("policydefinitions"), &policy)).await?;
            space.call(Method::PUT, path("contractdefinitions"), &Dataspace::definition(&asset, &offer.policy))
        }
    };
    provider.model.changing(offers);
    must(&mut asker.admin, call).await?;
    provider.model.changed();
    Ok(Some(provider.clone()))
}
