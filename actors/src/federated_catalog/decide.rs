//! What follows from commands, deadlines and what crawls brought. Pure.

use super::{
    CrawlKey, MAX_CRAWLS, MAX_KEPT, MAX_TARGETS, Pace,
    agent::{Command, Decided, Effect, FederatedCatalog, Found, Outcome, Prepared, Refusal, Reply, Sighted, Wanted},
    pace::{FORGOTTEN_AFTER, NOTED_EVERY},
    state::{CRAWLS, Crawl, Event, Failure, Seen, State},
};
use cellspace_cluster::{Decision, Input};
use cellspace_schemas::{Timestamp, management::TargetNode};
use std::{sync::Arc, time::Duration};

/// Longest reason kept, in characters.
const MAX_REASON: usize = 500;

/// What follows from one input.
///
/// # Errors
/// [`Refusal`] of a command; nothing was changed.
pub(super) fn decide(state: &State, input: &Input<FederatedCatalog>, now: Timestamp) -> Decided {
    Ok(match input {
        Input::Command(Prepared { command, refresh }) => commanded(state, command, *refresh, now)?.replying(Reply { at: now }),
        Input::Due(key) => due(state, key, now),
        Input::Delivered(effect, outcome) => brought(state, effect, outcome, now),
        Input::Undeliverable(effect, reason) => {
            let outcome = Outcome { found: Found::Failed(reason.clone()), pace: Pace::default() };
            brought(state, effect, &outcome, now)
        }
    })
}

fn commanded(state: &State, command: &Command, refresh: Duration, now: Timestamp) -> Result<Decision<FederatedCatalog>, Refusal> {
    let target = |action, target: &TargetNode| Decision::action(action).event(Event::Target(Arc::new(target.clone())));
    match command {
        Command::AddTarget(new) if state.targets.contains_key(&new.id) => Err(Refusal::Exists(new.id.clone())),
        Command::AddTarget(_) if state.targets.size() >= MAX_TARGETS => Err(Refusal::Full),
        Command::AddTarget(new) => Ok(target("target.added", new)),
        Command::ReplaceTarget(new) if state.targets.contains_key(&new.id) => Ok(target("target.replaced", new)),
        Command::RemoveTarget(id) if state.targets.contains_key(id) => {
            let decision = Decision::action("target.removed").event(Event::TargetRemoved(id.clone()));
            // waiting --named no longer--> under way: whether the installation names it is not known here; what is under way finds it out when it is back
            let waiting = state.crawls.values().filter(|crawl| crawl.key.target == *id && crawl.next.is_some());
            Ok(waiting.fold(decision, |decision, crawl| under_way(decision, crawl)))
        }
        Command::ReplaceTarget(TargetNode { id, .. }) | Command::RemoveTarget(id) => Err(Refusal::NotFound(id.clone())),
        Command::Want(wanted) => Ok(wanted_now(state, wanted, refresh, now)),
        Command::Leave => Ok(left(state)),
    }
}

/// What the wish changes: `None` when it was noted not long ago.
fn after_wish(crawl: Option<&Arc<Crawl>>, wanted: &Wanted, now: Timestamp) -> Option<Wish> {
    match crawl {
        None => Some(Wish::Begins),
        Some(crawl) if crawl.url != wanted.url => Some(Wish::Moves),
        Some(crawl) if crawl.asked_at.plus(NOTED_EVERY) <= now => Some(Wish::Lasts),
        Some(_) => None,
    }
}

enum Wish {
    Begins,
    Moves,
    Lasts,
}

impl State {
    /// Those of these wishes that change something: the agent is asked for no others.
    #[must_use]
    pub fn news(&self, wanted: &[Wanted], now: Timestamp) -> Vec<Wanted> {
        let full = self.crawls.size() >= MAX_CRAWLS;
        let changes = |wanted: &&Wanted| match after_wish(self.crawls.get(&wanted.key), wanted, now) {
            Some(Wish::Begins) => !full,
            Some(Wish::Moves | Wish::Lasts) => true,
            None => false,
        };
        wanted.iter().filter(changes).take(MAX_CRAWLS).cloned().collect()
    }
}

fn wanted_now(state: &State, wanted: &[Wanted], refresh: Duration, now: Timestamp) -> Decision<FederatedCatalog> {
    let mut decision = Decision::action("catalogs.wanted");
    let mut after = state.clone();
    for wanted in wanted {
        let known = after.crawls.get(&wanted.key);
        let crawl = match (after_wish(known, wanted, now), known) {
            // nothing --wanted--> under way
            (Some(Wish::Begins), _) if after.crawls.size() < MAX_CRAWLS => {
                let key = wanted.key.clone();
                Crawl { key, url: wanted.url.clone(), asked_at: now, next: None, seen: None, failures: 0, failure: None }
            }
            // waiting --wanted elsewhere--> under way; what is under way is begun again when it comes back
            (Some(Wish::Moves), Some(crawl)) => {
                // Others are not shown what was seen where they did not ask to look.
                let seen = crawl.seen.clone().filter(|_| !wanted.shared);
                Crawl { url: wanted.url.clone(), asked_at: now, next: None, seen, ..Crawl::clone(crawl) }
            }
            // waiting --wanted again--> waiting no longer than for what is asked for, and under way when that is over
            (Some(Wish::Lasts), Some(crawl)) => {
                let fresh = crawl.seen.as_ref().filter(|_| crawl.failures == 0).map(|seen| seen.at.plus(refresh));
                let next = crawl.next.map(|next| fresh.map_or(next, |fresh| next.min(fresh))).filter(|next| *next > now);
                Crawl { asked_at: now, next, ..Crawl::clone(crawl) }
            }
            (Some(Wish::Begins | Wish::Moves | Wish::Lasts) | None, _) => continue,
        };
        let begins = crawl.next.is_none() && known.is_none_or(|known| known.next.is_some());
        let unseen = crawl.seen.is_none() && known.is_some_and(|known| known.seen.is_some());
        let event = Event::Crawl(Arc::new(crawl.clone()));
        after.apply(&event);
        decision = decision.event(event);
        if unseen {
            decision = decision.event(Event::ViewRemoved(crawl.key.clone()));
        }
        if begins {
            decision = begun(decision, &crawl);
        }
    }
    decision
}

fn begun(decision: Decision<FederatedCatalog>, crawl: &Crawl) -> Decision<FederatedCatalog> {
    // One lane for each: a crawl never overtakes itself.
    decision.effect(format!("{CRAWLS}/{}", crawl.key), Effect { key: crawl.key.clone(), url: crawl.url.clone() })
}

fn given_up(decision: Decision<FederatedCatalog>, key: &CrawlKey) -> Decision<FederatedCatalog> {
    decision.event(Event::CrawlRemoved(key.clone())).event(Event::ViewRemoved(key.clone()))
}

/// The participant is gone: nothing of it stays.
fn left(state: &State) -> Decision<FederatedCatalog> {
    let targets = state.targets.keys().map(|id| Event::TargetRemoved(id.clone()));
    let decision = targets.fold(Decision::action("catalogs.forgotten"), Decision::event);
    state.crawls.keys().fold(decision, given_up)
}

fn due(state: &State, deadline: &str, now: Timestamp) -> Decision<FederatedCatalog> {
    let key = deadline.strip_prefix(CRAWLS).and_then(|rest| rest.strip_prefix('/')).and_then(|key| key.parse::<CrawlKey>().ok());
    let Some(crawl) = key.and_then(|key| state.crawls.get(&key)).filter(|crawl| crawl.next.is_some_and(|next| next <= now)) else {
        return Decision::nothing();
    };
    // waiting --due, and nobody asked for long--> nothing
    if crawl.asked_at.plus(FORGOTTEN_AFTER) <= now {
        return given_up(Decision::action("crawl.forgotten"), &crawl.key);
    }
    // waiting --due--> under way
    under_way(Decision::action("crawl.due"), crawl)
}

fn under_way(decision: Decision<FederatedCatalog>, crawl: &Crawl) -> Decision<FederatedCatalog> {
    let crawl = Crawl { next: None, ..crawl.clone() };
    begun(decision, &crawl).event(Event::Crawl(Arc::new(crawl)))
}

fn brought(state: &State, effect: &Effect, outcome: &Outcome, now: Timestamp) -> Decision<FederatedCatalog> {
    let Some(crawl) = state.crawls.get(&effect.key) else { return Decision::nothing() };
    if matches!(outcome.found, Found::Gone) {
        return left(state);
    }
    // under way --back, but it is elsewhere by now--> under way
    if crawl.url != effect.url {
        return under_way(Decision::action("crawl.moved"), crawl);
    }
    match &outcome.found {
        Found::Seen(sighted) if state.kept_beside(&crawl.key).saturating_add(sighted.catalog.len()) > MAX_KEPT => {
            failed(crawl, &format!("more than {MAX_KEPT} bytes of catalogs are not kept"), outcome.pace, now)
        }
        // under way --a view--> waiting
        Found::Seen(sighted) => seen(crawl, sighted, outcome.pace, now),
        // under way --none--> waiting, with the view that was there
        Found::Failed(reason) => failed(crawl, reason, outcome.pace, now),
        // under way --named again meanwhile--> under way
        Found::Unnamed if state.names(&crawl.key, crawl.url.as_ref()) => under_way(Decision::action("crawl.named"), crawl),
        // under way --named no longer--> nothing
        Found::Unnamed => given_up(Decision::action("crawl.unnamed"), &crawl.key),
        Found::Gone => Decision::nothing(),
    }
}

fn seen(crawl: &Crawl, sighted: &Sighted, pace: Pace, now: Timestamp) -> Decision<FederatedCatalog> {
    let Sighted { address, catalog, digest, cut } = sighted;
    let changed = crawl.seen.as_ref().is_none_or(|before| before.digest != *digest);
    let seen = Seen { at: now, address: address.clone(), bytes: catalog.len(), digest: digest.clone(), cut: *cut };
    let next = Some(now.plus(pace.after_view(now.since(crawl.asked_at))));
    let crawl = Crawl { seen: Some(seen), failures: 0, failure: None, next, ..crawl.clone() };
    let key = crawl.key.clone();
    let decision = Decision::action("crawl.seen").event(Event::Crawl(Arc::new(crawl)));
    if changed { decision.event(Event::View(key, catalog.clone())) } else { decision }
}

fn failed(crawl: &Crawl, reason: &str, pace: Pace, now: Timestamp) -> Decision<FederatedCatalog> {
    let failures = crawl.failures.saturating_add(1);
    let failure = Some(Failure { at: now, reason: reason.chars().take(MAX_REASON).collect() });
    let next = Some(now.plus(pace.after_failures(failures)));
    Decision::action("crawl.failed").event(Event::Crawl(Arc::new(Crawl { failures, failure, next, ..crawl.clone() })))
}
