//! Which credentials a counterparty is asked for.

use crate::settings::{ScopeType, Settings};
use cellspace_schemas::{ProfileId, odrl::Policy};
use itertools::Itertools;
use std::collections::BTreeSet;

/// DCP scopes of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes {
    /// `DEFAULT` scopes: without one of these credentials the message is refused.
    pub required: Vec<String>,
    /// `POLICY` scopes that the policies name: a missing credential only leaves its constraint unmet.
    pub optional: Vec<String>,
    /// Those of the optional ones that the message itself names. A sender that does not grant all of them is asked for these.
    pub named: Vec<String>,
}

impl Scopes {
    /// All of them, required ones first: what a sender grants.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.required.iter().chain(&self.optional).cloned().collect()
    }

    /// Whether everything in `other` is in these.
    #[must_use]
    pub fn cover(&self, other: &Self) -> bool {
        let known = |scope: &String| self.required.contains(scope) || self.optional.contains(scope);
        other.required.iter().chain(&other.optional).all(known)
    }
}

/// The scopes of a profile for messages about these policies: `DEFAULT` ones, and `POLICY` ones whose prefix begins a left operand.
#[must_use]
pub fn scopes_for<'a>(settings: &Settings, profile: &ProfileId, policies: impl IntoIterator<Item = &'a Policy>) -> Scopes {
    let operands = policies.into_iter().flat_map(Policy::atomic_constraints).map(|constraint| constraint.left_operand.as_str());
    scopes_for_operands(settings, profile, operands)
}

/// What a message of ours is about, as expressions name it in their scopes. `request.catalog` names nothing that is sent: a request for a catalog comes
/// with no policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestScope {
    /// A negotiation.
    ContractNegotiation,
    /// A transfer.
    TransferProcess,
}

impl RequestScope {
    /// The scope's name in expressions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ContractNegotiation => "request.contract.negotiation",
            Self::TransferProcess => "request.transfer.process",
        }
    }
}

/// As [`scopes_for`], for a message of ours: what its receiver may ask for. Where the expressions of a left operand name scopes of requests, it counts in
/// these alone; where none does, in all.
#[must_use]
pub fn scopes_of_request<'a>(
    settings: &Settings,
    profile: &ProfileId,
    request: RequestScope,
    policies: impl IntoIterator<Item = &'a Policy>,
) -> Scopes {
    let counts = |operand: &&str| {
        let mut naming = settings.expressions_for(operand).iter().filter(|expression| expression.names_requests()).peekable();
        naming.peek().is_none() || naming.any(|expression| expression.names(request.as_str()))
    };
    let operands = policies.into_iter().flat_map(Policy::atomic_constraints).map(|constraint| constraint.left_operand.as_str());
    scopes_for_operands(settings, profile, operands.filter(counts))
}

/// As [`scopes_for`], from the left operands alone.
#[must_use]
pub fn scopes_for_operands<'a>(settings: &Settings, profile: &ProfileId, operands: impl IntoIterator<Item = &'a str>) -> Scopes {
    let operands: Vec<&str> = operands.into_iter().collect();
    let (mut required, mut optional) = (Vec::new(), Vec::new());
    for scope in settings.dcp_scopes.values().filter(|scope| scope.profile == "*" || scope.profile == profile.as_str()) {
        match (scope.scope_type, scope.prefix_mapping.as_deref()) {
            (ScopeType::Default, _) => required.push(scope.value.as_str()),
            (ScopeType::Policy, Some(prefix)) if operands.iter().any(|operand| operand.starts_with(prefix)) => {
                optional.push(scope.value.as_str());
            }
            (ScopeType::Policy, _) => {}
        }
    }
    let texts = |mut scopes: Vec<&str>| -> Vec<String> {
        scopes.sort_unstable();
        scopes.into_iter().dedup().map(str::to_owned).collect()
    };
    optional.retain(|scope| !required.contains(scope));
    Scopes { required: texts(required), optional: texts(optional), named: Vec::new() }
}

/// All scopes that the settings know for a profile: what a participant grants that wants to be shown whatever its credentials open.
#[must_use]
pub fn all_scopes(settings: &Settings, profile: &ProfileId) -> Vec<String> {
    let known = settings.dcp_scopes.values().filter(|scope| scope.profile == "*" || scope.profile == profile.as_str());
    known.map(|scope| scope.value.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The scopes of a message that names these rules by itself, and is judged by policies with these operands too.
#[must_use]
pub fn scopes_for_rules<'a>(
    settings: &Settings,
    profile: &ProfileId,
    operands: impl IntoIterator<Item = &'a str>,
    rules: &'a Policy,
) -> Scopes {
    let own: Vec<&str> = rules.atomic_constraints().map(|constraint| constraint.left_operand.as_str()).collect();
    let named = scopes_for_operands(settings, profile, own.iter().copied()).optional;
    Scopes { named, ..scopes_for_operands(settings, profile, operands.into_iter().chain(own)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{CelExpression, DcpScope};
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn default_and_policy_scopes() {
        let scope = |id: &str, scope_type, profile: &str, prefix: Option<&str>| {
            let scope = DcpScope {
                id: id.to_owned(),
                scope_type,
                value: id.to_owned(),
                profile: profile.to_owned(),
                prefix_mapping: prefix.map(str::to_owned),
            };
            (id.to_owned(), scope)
        };
        let scopes = BTreeMap::from([
            scope("mem", ScopeType::Default, "*", None),
            scope("here", ScopeType::Default, "p1", None),
            scope("there", ScopeType::Default, "p2", None),
            scope("man", ScopeType::Policy, "*", Some("Manufacturer")),
            scope("other", ScopeType::Policy, "*", Some("Other")),
            scope("elsewhere", ScopeType::Policy, "p2", Some("Manufacturer")),
            scope("none", ScopeType::Policy, "*", None),
        ]);
        let settings = Settings::new(1, BTreeMap::new(), scopes, BTreeMap::new());
        let policy: Policy = serde_json::from_value(json!({"@type": "Set", "permission": [{"action": "use", "constraint": [
            {"or": [{"leftOperand": "ManufacturerCredential.part", "operator": "eq", "rightOperand": "x"}]}]}]}))
        .unwrap();
        let profile = ProfileId::new("p1").unwrap();
        let found = scopes_for(&settings, &profile, [&policy]);
        assert_eq!((found.required.clone(), found.optional.clone()), (vec!["here".to_owned(), "mem".to_owned()], vec!["man".to_owned()]));
        assert_eq!(found.all(), ["here", "mem", "man"]);
        assert_eq!(scopes_for(&settings, &profile, []).optional, Vec::<String>::new());
        assert_eq!(all_scopes(&settings, &profile), ["here", "man", "mem", "none", "other"]);
    }

    #[test]
    fn requests_show_what_expressions_name_them_for() {
        let expression = |id: &str, scopes: &[&str]| {
            let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            let [id, left_operand, expression, description] = [id, id, "true", ""].map(str::to_owned);
            (id.clone(), CelExpression { id, left_operand, expression, description, scopes, actions: vec![] })
        };
        let names = ["None", "All", "Catalog", "Negotiation", "Transfer", "Requests", "Both"];
        let expressions = [
            expression("All", &["*"]),
            expression("Catalog", &["catalog", "request.catalog"]),
            expression("Negotiation", &["contract.negotiation", "request.contract.negotiation"]),
            expression("Transfer", &["request.transfer"]),
            expression("Requests", &["request"]),
            expression("Both", &["contract.negotiation"]),
        ];
        let scopes = names.map(|name| {
            let (id, prefix_mapping) = (name.to_owned(), Some(name.to_owned()));
            (id.clone(), DcpScope { value: id.clone(), id, scope_type: ScopeType::Policy, profile: "*".to_owned(), prefix_mapping })
        });
        let settings = Settings::new(1, BTreeMap::from(expressions), BTreeMap::from(scopes), BTreeMap::new());
        let atoms = names.map(|name| json!({"leftOperand": name, "operator": "eq", "rightOperand": "x"}));
        let policy: Policy =
            serde_json::from_value(json!({"@type": "Set", "permission": [{"action": "use", "constraint": atoms}]})).unwrap();
        let profile = ProfileId::new("p1").unwrap();
        let asked = |request| scopes_of_request(&settings, &profile, request, [&policy]).all();
        assert_eq!(asked(RequestScope::ContractNegotiation), ["All", "Both", "Negotiation", "None", "Requests"]);
        assert_eq!(asked(RequestScope::TransferProcess), ["All", "Both", "None", "Requests", "Transfer"]);
    }
}
