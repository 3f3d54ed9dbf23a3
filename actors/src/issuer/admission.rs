//! Who may ask an issuer for credentials, and for how many: what strangers can make it keep is bounded.

use super::{
    Holder, IssuerState, Process,
    agent::Refusal,
    issuance::{self, Requested, State, Step},
    status_list::Status,
};
use cellspace_schemas::{
    Did, Timestamp,
    issuer::{CredentialDefinitionId, HolderPid},
};
use std::sync::Arc;

/// Processes of one holder at most that wait for approval, or whose credentials are on their way.
pub const MAX_UNDER_WAY: usize = 32;
/// Holders at most that nobody has registered.
pub const MAX_ANONYMOUS: usize = 10_000;
/// Processes of one of these at most, whatever became of them.
pub const MAX_OF_STRANGER: usize = 32;
/// Credentials of one of these at most that count, or wait for approval.
pub const MAX_HELD_BY_STRANGER: usize = 16;

/// Whether a holder may ask for these: all of them must be open to one that nobody has registered, also when it is known from an earlier request.
pub(super) fn admits(state: &IssuerState, holder: &Holder, definitions: &[CredentialDefinitionId]) -> bool {
    let open = |id| state.definitions.get(id).is_some_and(|definition| definition.anonymous_allowed);
    !holder.anonymous || definitions.iter().all(open)
}

/// Who asks: a holder that is known, or one that is made by its request. Something must be stored of a stranger that waits for approval as well: by how many
/// there are, what is kept of them is bounded.
///
/// # Errors
/// [`Refusal::UnknownHolder`]; [`Refusal::NoRoom`] when there are too many of them.
pub fn holder_of(state: &IssuerState, did: &Did, definitions: &[CredentialDefinitionId], now: Timestamp) -> Result<Arc<Holder>, Refusal> {
    let known = state.holder_by_did(did).cloned();
    let new = || Holder::anonymous(did, now).filter(|new| !state.holders.contains_key(&new.id)).map(Arc::new);
    let holder = known.or_else(new).filter(|holder| admits(state, holder, definitions)).ok_or(Refusal::UnknownHolder)?;
    if state.anonymous >= MAX_ANONYMOUS && !state.holders.contains_key(&holder.id) { Err(Refusal::NoRoom) } else { Ok(holder) }
}

/// Whether there is room for one more process of the holder. What strangers can make an issuer keep is bounded by how many they are, and by what each may have.
///
/// # Errors
/// [`Refusal::TooMany`] while too many are under way; [`Refusal::NotEntitled`] when a stranger has had what it may have.
pub fn room(state: &IssuerState, holder: &Holder, asked: &[CredentialDefinitionId], now: Timestamp) -> Result<(), Refusal> {
    if state.under_way(&holder.id).count() >= MAX_UNDER_WAY {
        return Err(Refusal::TooMany);
    }
    if !holder.anonymous {
        return Ok(());
    }
    if state.of_stranger(&holder.id).count() >= MAX_OF_STRANGER {
        let rule = format!("a holder that is not registered has at most {MAX_OF_STRANGER} requests, for more it must be registered");
        return Err(Refusal::NotEntitled(rule));
    }
    let counts = |process: &Process, requested: &Requested| match state.credentials.get(&requested.credential) {
        // What could not be delivered, the holder has not.
        Some(_) if process.state == State::Errored => false,
        Some(issued) => issued.valid_until > now && issued.status.status() != Status::Revoked,
        None => process.state == State::Submitted,
    };
    let held = state.of_stranger(&holder.id).flat_map(|process| process.requested.iter().filter(|requested| counts(process, requested)));
    if held.count() + asked.len() > MAX_HELD_BY_STRANGER {
        let rule =
            format!("a holder that is not registered has at most {MAX_HELD_BY_STRANGER} credentials, for more it must be registered");
        return Err(Refusal::NotEntitled(rule));
    }
    Ok(())
}

/// Whether something needs to be attested: the request repeats none whose outcome stands, and there is room for it.
#[must_use]
pub fn is_judged(state: &IssuerState, holder: &Holder, pid: &HolderPid, asked: &[CredentialDefinitionId], now: Timestamp) -> bool {
    let process = state.process_of(&holder.did, pid);
    let stands = process.is_some_and(|process| issuance::step(process.state, issuance::Command::Repeat) != Step::Anew);
    !stands && room(state, holder, asked, now).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::{
        admin::Command as Admin,
        status_list::StatusCommand,
        testing::{World, definition, did, open},
    };
    use cellspace_schemas::issuer::{IssuerPid, admin::DefinitionBody};
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn who_is_not_registered_gets_what_is_there_for_everybody() {
        let mut world = World::seeded();
        let Admin::CreateDefinition(mut open) = definition("open", "vc20-bssl/jwt") else { panic!("no definition") };
        (open.anonymous_allowed, open.mappings) = (true, Vec::new());
        let rules = std::mem::take(&mut open.rules);
        world.admin(Admin::CreateDefinition(open.clone())).unwrap();
        // Nobody has registered it: its registration attests nothing, and rules hold for it as well.
        assert!(matches!(world.request("stranger", "h-1", &["open"]), Err(Refusal::NotEntitled(_))));
        (open.attestations, open.rules) = (Vec::new(), rules);
        world.admin(Admin::UpdateDefinition(open.clone())).unwrap();
        assert!(matches!(world.request("stranger", "h-1", &["open"]), Err(Refusal::NotEntitled(_))));
        open.rules.clear();
        world.admin(Admin::UpdateDefinition(open.clone())).unwrap();
        for refused in [&["open", "membership"][..], &["open", "none"]] {
            assert_eq!(world.request("stranger", "h-1", refused), Err(Refusal::UnknownHolder));
        }
        assert!(world.state.holder_by_did(&did("stranger")).is_none(), "nothing of what is refused is kept");
        let pid = world.request("stranger", "h-1", &["open"]).unwrap();
        assert_eq!(world.request("stranger", "h-1", &["open"]), Ok(pid));
        let holder_of = |world: &World| Holder::clone(world.state.holder_by_did(&did("stranger")).unwrap());
        assert!(holder_of(&world).anonymous);
        assert_eq!((holder_of(&world).id.as_str(), world.state.anonymous), (did("stranger").as_str(), 1));
        // An operator that takes it up makes it one of its own.
        let taken = serde_json::from_value(json!({"holderId": did("stranger"), "did": did("stranger")})).unwrap();
        world.admin(Admin::UpdateHolder(taken)).unwrap();
        assert_eq!((holder_of(&world).anonymous, world.state.anonymous), (false, 0));
        assert_eq!(world.reloaded().anonymous, 0);
        // Not for ever more of them.
        world.state.anonymous = MAX_ANONYMOUS;
        assert_eq!(world.request("another", "h-1", &["open"]), Err(Refusal::NoRoom));
        assert!(world.request("stranger", "h-2", &["open"]).is_ok());
        world.state.anonymous = 0;
        // The id is somebody else's.
        let clash = serde_json::from_value(json!({"holderId": did("third"), "did": did("fourth")})).unwrap();
        world.admin(Admin::CreateHolder(clash)).unwrap();
        assert_eq!(world.request("third", "h-1", &["open"]), Err(Refusal::UnknownHolder));
    }

    #[test]
    fn who_came_to_what_is_open_comes_no_further() {
        let mut world = World::seeded();
        let Admin::CreateDefinition(mut closed) = definition("closed", "vc20-bssl/jwt") else { panic!("no definition") };
        (closed.attestations, closed.rules, closed.mappings) = (Vec::new(), Vec::new(), Vec::new());
        let mut open = DefinitionBody { id: "open".parse().unwrap(), anonymous_allowed: true, ..closed.clone() };
        for body in [&closed, &open] {
            world.admin(Admin::CreateDefinition(body.clone())).unwrap();
        }
        world.request("stranger", "h-1", &["open"]).unwrap();
        assert!(world.state.holder_by_did(&did("stranger")).unwrap().anonymous);
        for refused in [&["membership"][..], &["closed"], &["open", "closed"], &["none"]] {
            assert_eq!(world.request("stranger", "h-2", refused), Err(Refusal::UnknownHolder), "{refused:?}");
        }
        // Open no more, also to who came before, and for what it has.
        open.anonymous_allowed = false;
        world.admin(Admin::UpdateDefinition(open)).unwrap();
        for pid in ["h-1", "h-3"] {
            assert_eq!(world.request("stranger", pid, &["open"]), Err(Refusal::UnknownHolder));
        }
        // Registered, it is like any other.
        let taken = serde_json::from_value(json!({"holderId": did("stranger"), "did": did("stranger")})).unwrap();
        world.admin(Admin::UpdateHolder(taken)).unwrap();
        world.request("stranger", "h-2", &["closed"]).unwrap();
    }

    #[test]
    fn what_a_stranger_can_make_an_issuer_keep_is_bounded() {
        let mut world = World::seeded();
        for (id, guarded) in [("open", false), ("free", false), ("waits", true)] {
            world.admin(open(id, guarded)).unwrap();
        }
        let refused = |outcome: Result<IssuerPid, Refusal>, what: &str| match outcome {
            Err(Refusal::NotEntitled(rule)) => assert!(rule.contains(what), "{rule}"),
            other => panic!("{other:?}"),
        };
        let taken = |world: &mut World, pid: &str, asked: &[&str]| {
            let pid = world.request("stranger", pid, asked).unwrap();
            world.sent(Ok(())).unwrap();
            pid
        };
        for n in 0..7 {
            taken(&mut world, &format!("h-{n}"), &["open", "free"]);
        }
        // What waits for approval counts as well.
        let waits = world.request("stranger", "w-1", &["waits"]).unwrap();
        let last = taken(&mut world, "h-7", &["open"]);
        let before = world.rows.len();
        refused(world.request("stranger", "h-8", &["open"]), "16 credentials");
        assert_eq!((world.rows.len(), world.outbox.len()), (before, 0), "nothing of it is kept");
        let judged = |world: &World| {
            let (holder, asked) = (world.state.holder_by_did(&did("stranger")).unwrap(), ["open".parse().unwrap()]);
            is_judged(&world.state, holder, &HolderPid::new("h-8").unwrap(), &asked, world.now())
        };
        assert!(!judged(&world), "nobody is asked about it either");
        // Repeats are no more of them; others have room of their own.
        assert_eq!(world.request("stranger", "h-7", &["open"]), Ok(last));
        world.sent(Ok(())).unwrap();
        assert!(world.request("another", "h-1", &["open"]).is_ok());
        world.sent(Ok(())).unwrap();
        // What is rejected, revoked or past its end counts no longer.
        world.reject(&waits, None).unwrap();
        world.sent(Ok(())).unwrap();
        assert!(judged(&world));
        taken(&mut world, "h-8", &["open"]);
        refused(world.request("stranger", "h-9", &["open"]), "16 credentials");
        let credential = world.state.credentials.values().find(|issued| issued.holder_did == did("stranger")).unwrap().id.clone();
        world.admin(Admin::ChangeStatus { credential, command: StatusCommand::Revoke, reason: None }).unwrap();
        taken(&mut world, "h-9", &["open"]);
        world.pass(Duration::from_secs(3_600));
        refused(world.request("stranger", "h-10", &["open"; 17]), "16 credentials");
        for n in 10..31 {
            assert!(world.reloaded().of_stranger(&did("stranger").as_str().parse().unwrap()).count() == n + 1);
            taken(&mut world, &format!("h-{n}"), &["open"]);
            world.pass(Duration::from_secs(3_600));
        }
        // However little counts of all that.
        refused(world.request("stranger", "h-31", &["open"]), "32 requests");
        // Registered, it goes on, also under another id.
        let body = json!({"holderId": "known", "did": did("stranger"), "name": "Known"});
        world.admin(Admin::CreateHolder(serde_json::from_value(body).unwrap())).unwrap();
        assert!(world.request("stranger", "h-31", &["open"]).is_ok());
    }

    #[test]
    fn a_holder_has_few_requests_under_way() {
        let mut world = World::seeded();
        for n in 0..MAX_UNDER_WAY {
            world.request("acme", &format!("h-{n}"), &["membership"]).unwrap();
        }
        assert_eq!(world.request("acme", "one-more", &["membership"]), Err(Refusal::TooMany));
        world.sent(Ok(())).unwrap();
        assert!(world.request("acme", "one-more", &["membership"]).is_ok());
    }
}
