//! Changes of assets, policies and contract definitions, each of which the next answer must show.

use super::{
    Asker,
    model::{Offer, Shows},
    setup::{Dataspace, Provider, must},
};
use crate::world::Party;
use anyhow::{Context, Result};
use http::Method;
use rand::{RngExt, rngs::StdRng};
use std::sync::Arc;

/// How often an offer is looked for whose change shows: of a hundred offers that a party sees, half are on its first page.
const TRIES: usize = 100;

/// A provider that was changed.
pub struct Change {
    pub provider: Arc<Provider>,
    shows: Shows,
}

impl Change {
    /// Whether this party must now see something else than before.
    pub fn shows(&self, party: &Party) -> bool {
        self.shows.to(party)
    }
}

/// What is changed of an offer.
#[derive(Debug, Clone, Copy)]
enum What {
    Asset,
    Policy,
    Definition,
}

impl What {
    fn of(self, offer: &Offer) -> Offer {
        match self {
            Self::Asset => Offer { revision: offer.revision + 1, ..offer.clone() },
            Self::Policy => Offer { access: offer.access.turned(), ..offer.clone() },
            Self::Definition => {
                Offer { access: offer.access.turned(), policy: format!("policy-{}", uuid::Uuid::new_v4().simple()), ..offer.clone() }
            }
        }
    }
}

/// All offers and the one that differs from those before, by a change that somebody sees.
fn choose(before: &[Offer], what: What, random: &mut StdRng) -> Option<(Vec<Offer>, Offer, Shows)> {
    let mut after = before.to_vec();
    for _ in 0..TRIES {
        let n = random.random_range(0..before.len());
        let (old, changed) = (before.get(n)?, after.get_mut(n)?);
        *changed = what.of(old);
        let changed = changed.clone();
        let shows = Shows::between(before, &after);
        if !shows.to_nobody() {
            return Some((after, changed, shows));
        }
        old.clone_into(after.get_mut(n)?);
    }
    None
}

/// Changes a random provider, which the next request must see. `None` when another worker is changing that provider.
pub async fn make(asker: &mut Asker) -> Result<Option<Change>> {
    let cast = Arc::clone(&asker.cast);
    let provider = cast.provider(&mut asker.random)?;
    let Ok(_held) = provider.change.try_lock() else { return Ok(None) };
    let what = [What::Asset, What::Policy, What::Definition].get(asker.random.random_range(0..3)).copied().context("a change")?;
    let (offers, offer, shows) = choose(&provider.model.offers(), what, &mut asker.random).context("no change would show")?;
    let path = |resource: &str| Dataspace::path(&provider.context, resource);
    let space = &cast.space;
    let call = match what {
        What::Asset => space.call(Method::PUT, path("assets"), &space.asset(&offer.asset, offer.revision)),
        What::Policy => {
            space.call(Method::PUT, path(&format!("policydefinitions/{}", offer.policy)), &space.policy(&offer.policy, offer.access))
        }
        What::Definition => {
            let policy = space.policy(&offer.policy, offer.access);
            must(&mut asker.admin, space.call(Method::POST, path("policydefinitions"), &policy)).await?;
            space.call(Method::PUT, path("contractdefinitions"), &Dataspace::definition(&offer.asset, &offer.policy))
        }
    };
    provider.model.changing(offers);
    must(&mut asker.admin, call).await?;
    provider.model.changed();
    Ok(Some(Change { provider: provider.clone(), shows }))
}
