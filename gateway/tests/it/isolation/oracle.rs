//! Who may call what, said once more: from a row and a caller, without a word of the platform's own code.

use super::rows::{Asks, Row};

/// A caller, with what is true of its token.
#[derive(Debug, Clone)]
pub struct Caller {
    pub name: &'static str,
    pub token: Option<String>,
    pub who: Who,
    pub scopes: Vec<String>,
}

impl Caller {
    /// The participant context it acts for.
    pub fn own(&self) -> Option<&str> {
        match &self.who {
            Who::Participant(own, _) | Who::Provisioner(Some(own)) => Some(own),
            Who::Nobody | Who::Admin | Who::Provisioner(None) => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Without a token, or with one that is none of ours.
    Nobody,
    Admin,
    /// Bound to a participant context, or to none.
    Provisioner(Option<String>),
    Participant(String, Standing),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Active,
    Off,
    /// There is no such participant context.
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Refused(u16),
    Admitted,
}

/// Scopes of the fabric are texts: neither roles nor other actions stand for them.
fn is_of_the_fabric(scope: &str) -> bool {
    scope.starts_with("tenant-manager-api:") || scope.starts_with("provision-manager-api:")
}

fn holds(caller: &Caller, wanted: &str) -> bool {
    let parts = |scope: &str| {
        let (rest, action) = scope.rsplit_once(':').unwrap();
        let (api, resource) = rest.split_once(':').unwrap_or((rest, "*"));
        let rank = ["read", "write", "admin"].iter().position(|name| *name == action).unwrap();
        (api.to_owned(), resource.to_owned(), rank)
    };
    let (api, resource, rank) = parts(wanted);
    caller.scopes.iter().any(|held| {
        let (held_api, held_resource, held_rank) = parts(held);
        let same = held_api == api && (held_resource == "*" || held_resource == resource);
        same && if is_of_the_fabric(wanted) { held_rank == rank } else { held_rank >= rank }
    })
}

/// What a call is answered before anybody looks at what it asks for; `owner` is the participant context whose things it is about.
pub fn verdict(row: &Row, caller: &Caller, owner: Option<&str>) -> Verdict {
    const FORBIDDEN: Verdict = Verdict::Refused(403);
    let Asks::Scope(scope) = row.asks else { panic!("{} asks for no scope", row.name()) };
    let may = |holds: bool| if holds { Verdict::Admitted } else { FORBIDDEN };
    match &caller.who {
        Who::Nobody => Verdict::Refused(401),
        Who::Admin => may(holds(caller, scope)),
        Who::Provisioner(_) if !row.listed => FORBIDDEN,
        Who::Provisioner(None) => may(!is_of_the_fabric(scope) || holds(caller, scope)),
        Who::Provisioner(Some(own)) => may(owner == Some(own) && holds(caller, scope)),
        Who::Participant(own, standing) => {
            let about_participants = ["management-api:", "identity-api:", "issuer-admin-api:"].iter().any(|api| scope.starts_with(api))
                || row.is_of_a_participant();
            match standing {
                Standing::Absent if about_participants => Verdict::Refused(401),
                Standing::Off if about_participants => FORBIDDEN,
                _ => {
                    let own_path = owner.is_none_or(|owner| owner == own);
                    // Participants look at what is everybody's, and change nothing of it.
                    let everybodys = owner.is_none() && scope.starts_with("management-api:") && scope.ends_with(":write");
                    may(own_path && !everybodys && !scope.ends_with(":admin") && holds(caller, scope))
                }
            }
        }
    }
}
