//! May this caller do this? Pure: a caller, what the route asks, and the participant context of the path.

use super::{Action, Caller, Scope};
use crate::http::{Access, Api, ApiError, ErrorKind, Match, Principal, Provisioner, Role, Verb};
use cellspace_schemas::ParticipantContextId;

/// Path parameters that name the participant context whose things a route touches.
const OWNER_PARAMS: [&str; 2] = ["participant", "issuer"];

/// What a matched route asks of its caller.
#[derive(Debug, Clone)]
pub struct Need<'a> {
    /// Whose words it speaks.
    pub api: Api,
    /// The scope.
    pub scope: &'a Scope,
    /// Whether a provisioner may call.
    pub provisioner: Provisioner,
    /// Whether the participant's token needs no scope of the API: where paths name no participant there are none (Management API v4). A token that has
    /// some is held to them.
    pub unscoped: bool,
    /// The participant context of the path.
    pub owner: Option<&'a str>,
    /// Whether the route creates participant contexts: its handler compares the id of the body ([`Principal::may_create`]).
    pub creates_participant: bool,
}

impl<'a> Need<'a> {
    /// What a match asks; `None` on open routes.
    #[must_use]
    pub fn of(matched: &'a Match) -> Option<Self> {
        let (Access::Scope(_, provisioner), Some(scope)) = (matched.route.access, matched.scope.as_ref()) else { return None };
        let owner = OWNER_PARAMS.iter().find_map(|name| matched.params.get(name));
        let creates_participant = matched.route.method == Verb::Post && matched.route.path == "/participants";
        Some(Self { api: matched.route.api, scope, provisioner, unscoped: matched.unnamed, owner, creates_participant })
    }

    /// Whether the caller must be a participant context that exists: asked before its scopes, as the peers do. In the APIs that are about
    /// participants always, elsewhere on what belongs to one.
    #[must_use]
    pub fn known_participant<'c>(&self, caller: &'c Caller) -> Option<Result<&'c ParticipantContextId, Denial>> {
        let asks = match self.api {
            Api::Management | Api::Identity | Api::IssuerAdmin => true,
            // The platform's own signaling goes on: a participant that was switched off still ends its flows.
            Api::Dps => self.owner.is_some() && !caller.by_platform,
            Api::Fabric | Api::OAuth => false,
            Api::Native | Api::Dcp | Api::DspCatalog | Api::DspNegotiation | Api::DspTransfer | Api::DspVersion => self.owner.is_some(),
        };
        if !asks || caller.role_for(&self.scope.prefix) != Role::Participant {
            return None;
        }
        Some(caller.participant.as_ref().ok_or(Denial::UnknownCaller))
    }
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// The subject is no participant context.
    UnknownCaller,
    /// The scope is missing.
    Scope(Scope),
    /// Not on the provisioner's list.
    NotForProvisioners,
    /// The participant context of the path is another one.
    ForeignOwner,
    /// A token bound to one participant on a route that is about all of them.
    NotForBound,
    /// A participant on a route that is the installation's.
    NotForParticipants,
    /// The caller's own participant context is switched off.
    Deactivated,
}

impl From<Denial> for ApiError {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::UnknownCaller => Self::new(ErrorKind::UnknownCaller, "the subject of the token is not a known participant context"),
            Denial::Scope(scope) => Self::new(ErrorKind::MissingScope, format!("the token lacks the scope {scope}")),
            Denial::NotForProvisioners => Self::new(ErrorKind::NotAuthorized, "this operation is not open to provisioners"),
            Denial::ForeignOwner => Self::new(ErrorKind::NotAuthorized, "the token is bound to another participant context"),
            Denial::NotForParticipants => Self::new(ErrorKind::NotAuthorized, "this operation is not open to participants"),
            Denial::Deactivated => Self::new(ErrorKind::NotAuthorized, "the participant context is deactivated"),
            Denial::NotForBound => Self::new(ErrorKind::NotAuthorized, "the token is bound to one participant context"),
        }
    }
}

/// Decides; the answer is who acts, for the handler.
///
/// # Errors
/// [`Denial`] says what is missing.
pub fn authorize(caller: &Caller, need: &Need<'_>) -> Result<Principal, Denial> {
    let role = caller.role_for(&need.scope.prefix);
    let scope = || if caller.holds(need.scope) { Ok(()) } else { Err(Denial::Scope(need.scope.clone())) };
    let own_path = || match need.owner {
        Some(owner) if caller.participant.as_ref().map(ParticipantContextId::as_str) != Some(owner) => Err(Denial::ForeignOwner),
        _ => Ok(()),
    };
    let participant = match role {
        Role::Admin => {
            scope()?;
            None
        }
        Role::Participant => {
            // A token that says what it is for is for nothing else, and those that the platform makes for others say it elsewhere.
            if !(need.unscoped && caller.unscoped && !caller.by_platform) {
                scope()?;
            }
            own_path()?;
            // A participant that was granted the `:admin` scope of an API is still no admin of it, and changes nothing that is everybody's.
            let everybodys = need.api == Api::Management && need.owner.is_none() && need.scope.action == Action::Write;
            if need.scope.action == Action::Admin || everybodys {
                return Err(Denial::NotForParticipants);
            }
            caller.participant.clone()
        }
        Role::Provisioner if need.provisioner == Provisioner::Denied => return Err(Denial::NotForProvisioners),
        Role::Provisioner if caller.unbound => {
            // The role stands in place of `<prefix>:admin`; scopes of the fabric have no admin above them.
            if need.scope.is_plain() {
                scope()?;
            }
            None
        }
        Role::Provisioner => {
            scope()?;
            own_path()?;
            if need.owner.is_none() && !need.creates_participant {
                return Err(Denial::NotForBound);
            }
            Some(caller.participant.clone().ok_or(Denial::UnknownCaller)?)
        }
    };
    Ok(Principal { subject: caller.subject.clone(), role, participant })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(role: Option<Role>, participant: Option<&str>, unbound: bool, scopes: &[&str]) -> Caller {
        Caller {
            subject: "s".to_owned(),
            role,
            participant: participant.map(|p| p.parse().unwrap()),
            unbound,
            by_platform: false,
            scopes: scopes.iter().map(|s| Scope::parse(s).unwrap()).collect(),
            unscoped: scopes.is_empty(),
        }
    }

    /// Every kind of caller against every kind of route: what comes of it.
    #[test]
    fn table() {
        use Provisioner::{Denied, Listed};
        let participant = caller(None, Some("p"), true, &["m:write"]);
        let reader = caller(None, Some("p"), true, &["m:assets:read"]);
        let derived_admin = caller(None, Some("p"), true, &["m:admin"]);
        let named_participant = caller(Some(Role::Participant), Some("p"), true, &["m:admin"]);
        let admin = caller(Some(Role::Admin), Some("a"), true, &["m:admin"]);
        let narrow_admin = caller(Some(Role::Admin), Some("a"), true, &["m:read"]);
        let profiles_admin = caller(Some(Role::Admin), Some("a"), true, &["m:profiles:write"]);
        let operator = caller(Some(Role::Provisioner), Some("o"), true, &["tenant-manager-api:read"]);
        let scoped_operator = caller(Some(Role::Provisioner), Some("o"), true, &["m:admin"]);
        let agent = caller(Some(Role::Provisioner), Some("p"), false, &["m:admin"]);
        let narrow_agent = caller(Some(Role::Provisioner), Some("p"), false, &["m:assets:write"]);
        let nobody = caller(Some(Role::Provisioner), None, false, &["m:admin"]);
        let read = "m:assets:read";
        let lacks = |s: &str| Err(Denial::Scope(Scope::parse(s).unwrap()));
        let own = |p: &str| Ok(Some(p.to_owned()));
        let (foreign, bound, denied) = (Err(Denial::ForeignOwner), Err(Denial::NotForBound), Err(Denial::NotForProvisioners));
        let participants = Err(Denial::NotForParticipants);
        // caller, required scope, provisioner, path's participant, creates a participant -> the principal's participant
        type Row<'a> = (&'a Caller, &'a str, Provisioner, Option<&'a str>, bool, Result<Option<String>, Denial>);
        let table: Vec<Row<'_>> = vec![
            (&participant, read, Denied, Some("p"), false, own("p")),
            (&participant, read, Denied, Some("q"), false, foreign.clone()),
            (&participant, read, Denied, None, false, own("p")),
            (&participant, "m:admin", Listed, Some("p"), false, lacks("m:admin")),
            (&participant, "i:read", Listed, Some("p"), false, lacks("i:read")),
            (&reader, read, Denied, Some("p"), false, own("p")),
            (&reader, "m:assets:write", Denied, Some("p"), false, lacks("m:assets:write")),
            // The scope is looked at before the owner.
            (&reader, "m:assets:write", Denied, Some("q"), false, lacks("m:assets:write")),
            (&derived_admin, read, Denied, Some("q"), false, Ok(None)),
            (&derived_admin, "m:admin", Denied, None, true, Ok(None)),
            (&named_participant, read, Denied, Some("q"), false, foreign.clone()),
            (&named_participant, read, Denied, Some("p"), false, own("p")),
            // What is the installation's is not a participant's, and its own context is not its own to change.
            (&named_participant, "m:admin", Denied, None, false, participants.clone()),
            (&named_participant, "m:admin", Listed, None, true, participants.clone()),
            (&named_participant, "m:admin", Listed, Some("p"), false, participants),
            (&named_participant, "m:admin", Listed, Some("q"), false, foreign.clone()),
            (&admin, "m:admin", Denied, Some("q"), false, Ok(None)),
            (&narrow_admin, "m:profiles:read", Denied, None, false, Ok(None)),
            (&profiles_admin, "m:profiles:write", Denied, None, false, Ok(None)),
            (&profiles_admin, "m:admin", Denied, None, false, lacks("m:admin")),
            (&participant, "m:profiles:read", Denied, None, false, own("p")),
            (&participant, "m:profiles:write", Denied, None, false, Err(Denial::NotForParticipants)),
            (&admin, "i:read", Denied, Some("q"), false, lacks("i:read")),
            (&narrow_admin, read, Denied, Some("q"), false, Ok(None)),
            (&narrow_admin, "m:write", Denied, Some("q"), false, lacks("m:write")),
            (&operator, "m:admin", Listed, None, true, Ok(None)),
            (&operator, "m:participants:write", Listed, Some("q"), false, Ok(None)),
            (&operator, read, Denied, Some("q"), false, denied.clone()),
            (&scoped_operator, read, Denied, Some("o"), false, denied.clone()),
            (&operator, "tenant-manager-api:read", Listed, None, false, Ok(None)),
            (&operator, "tenant-manager-api:write", Listed, None, false, lacks("tenant-manager-api:write")),
            (&agent, "m:admin", Listed, None, true, own("p")),
            (&agent, "m:admin", Listed, None, false, bound.clone()),
            (&agent, "m:admin", Listed, Some("p"), false, own("p")),
            (&agent, "m:admin", Listed, Some("q"), false, foreign.clone()),
            (&agent, read, Denied, Some("p"), false, denied.clone()),
            (&narrow_agent, "m:admin", Listed, Some("p"), false, lacks("m:admin")),
            (&narrow_agent, "m:assets:write", Listed, Some("p"), false, own("p")),
            (&nobody, "m:admin", Listed, None, true, Err(Denial::UnknownCaller)),
            (&nobody, "m:admin", Listed, Some("p"), false, foreign),
        ];
        for (caller, scope, provisioner, owner, creates_participant, expected) in table {
            let scope = Scope::parse(scope).unwrap();
            let need = Need { api: Api::Management, scope: &scope, provisioner, unscoped: false, owner, creates_participant };
            let got = authorize(caller, &need).map(|p| p.participant.map(String::from));
            assert_eq!(got, expected, "{caller:?} {need:?}");
        }
    }

    /// Where no scopes are asked for, roles count as everywhere, and who has scopes may do no more than they say.
    #[test]
    fn routes_without_scopes() {
        let scope = Scope::parse("m:assets:write").unwrap();
        let need = |provisioner, owner| Need {
            api: Api::Management,
            scope: &scope,
            provisioner,
            unscoped: true,
            owner: Some(owner),
            creates_participant: false,
        };
        type Row<'a> = (Option<Role>, &'a [&'a str], Provisioner, &'a str, Result<(), Denial>);
        let lacks = Err(Denial::Scope(scope.clone()));
        let table: Vec<Row<'_>> = vec![
            (None, &[], Provisioner::Denied, "p", Ok(())),
            (Some(Role::Participant), &[], Provisioner::Denied, "p", Ok(())),
            (None, &[], Provisioner::Denied, "q", Err(Denial::ForeignOwner)),
            (None, &["i:read"], Provisioner::Denied, "p", lacks.clone()),
            (Some(Role::Participant), &["i:admin"], Provisioner::Denied, "p", lacks.clone()),
            (None, &["i:read", "m:read"], Provisioner::Denied, "p", lacks.clone()),
            (None, &["m:policies:write"], Provisioner::Denied, "p", lacks.clone()),
            (None, &["m:admin"], Provisioner::Denied, "q", Ok(())),
            (Some(Role::Admin), &["i:admin"], Provisioner::Denied, "p", lacks.clone()),
            (Some(Role::Provisioner), &[], Provisioner::Denied, "p", Err(Denial::NotForProvisioners)),
            (Some(Role::Provisioner), &[], Provisioner::Listed, "p", lacks),
        ];
        for (role, scopes, provisioner, owner, expected) in table {
            let caller = caller(role, Some("p"), false, scopes);
            assert_eq!(authorize(&caller, &need(provisioner, owner)).map(drop), expected, "{caller:?} {owner}");
            // Scopes that say nothing here say that it is for something else.
            let elsewhere = Caller { unscoped: false, ..caller.clone() };
            assert!(!scopes.is_empty() || authorize(&elsewhere, &need(provisioner, owner)).is_err(), "{elsewhere:?}");
            // What the platform makes for brokers and data planes is for them alone.
            let platform = Caller { by_platform: true, ..caller };
            assert!(!scopes.is_empty() || authorize(&platform, &need(provisioner, owner)).is_err(), "{platform:?}");
        }
    }

    #[test]
    fn participants_must_be_known() {
        let scope = Scope::parse("m:assets:read").unwrap();
        let need =
            |api| Need { api, scope: &scope, provisioner: Provisioner::Denied, unscoped: false, owner: None, creates_participant: false };
        let of_one = |api| Need { owner: Some("p"), ..need(api) };
        let participant = caller(None, Some("p"), true, &["m:read"]);
        let no_subject = caller(None, None, true, &["m:read"]);
        for api in [Api::Management, Api::Identity, Api::IssuerAdmin] {
            assert_eq!(need(api).known_participant(&participant).unwrap().unwrap().as_str(), "p");
            assert_eq!(need(api).known_participant(&no_subject), Some(Err(Denial::UnknownCaller)));
            assert_eq!(need(api).known_participant(&caller(None, None, true, &["m:admin"])), None);
            assert_eq!(need(api).known_participant(&caller(Some(Role::Provisioner), None, true, &[])), None);
        }
        for api in [Api::Fabric, Api::Dps, Api::OAuth, Api::Native] {
            assert_eq!(need(api).known_participant(&no_subject), None);
        }
        let platform = Caller { by_platform: true, ..participant.clone() };
        for (api, caller, asks) in [
            (Api::Native, &participant, true),
            (Api::Native, &platform, true),
            (Api::Dps, &participant, true),
            (Api::Dps, &platform, false),
            (Api::Management, &platform, true),
            (Api::Fabric, &participant, false),
        ] {
            assert_eq!(of_one(api).known_participant(caller).is_some(), asks, "{api:?} {caller:?}");
        }
    }
}
