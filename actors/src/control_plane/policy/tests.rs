//! Tables of policies and claims.

use super::*;
use crate::settings::CelExpression;
use cellspace_schemas::{AgreementId, AssetId, Did, odrl::Policy};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn settings() -> Settings {
    let expression = |id: &str, left: &str, text: &str, scopes: &[&str], actions: &[&str]| {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let expression = CelExpression {
            id: id.to_owned(),
            left_operand: left.to_owned(),
            expression: text.to_owned(),
            description: String::new(),
            scopes: owned(scopes),
            actions: owned(actions),
        };
        (id.to_owned(), expression)
    };
    let has = |credential: &str| format!("ctx.agent.claims.vc.withType('{credential}').valid().size() > 0");
    let all = &["catalog", "contract.negotiation", "transfer.process"][..];
    Settings::new(
        1,
        BTreeMap::from([
            expression("m", "Membership", &has("MembershipCredential"), all, &["use"]),
            expression("f", "Manufacturer", &has("ManufacturerCredential"), all, &[]),
            expression("late", "Late", &has("LateCredential"), &["contract"], &[]),
            expression("id", "Did", "ctx.agent.id == this.rightOperand && this.operator == 'EQ'", &[], &[]),
            expression("two-1", "Two", "true", &[], &[]),
            expression("offered", "Offered", "true", &["request.transfer.process"], &[]),
            expression("watch", "Watch", "ctx.agreement.consumerId == this.rightOperand", &["policy.monitor"], &[]),
            expression("two-2", "Two", "this.rightOperand == 'ok'", &["*."], &[]),
            expression("gap", "Gap", "ctx.agent.nothing.at.all == 1", &[], &[]),
            expression("bad", "Bad", "ctx.agent.id > 1", &[], &[]),
            expression(
                "level",
                "Level",
                "ctx.agent.claims.vc.withType('LevelCredential').valid().claim('level') >= this.rightOperand",
                all,
                &[],
            ),
            expression("signed", "Signed", "ctx.agreement.contractSigningDate == 1000", &[], &[]),
        ]),
        BTreeMap::new(),
        BTreeMap::new(),
    )
}

fn agent(credentials: &[&str]) -> ParticipantAgent {
    let credentials: Vec<Value> = credentials
        .iter()
        .map(|name| json!({"type": ["VerifiableCredential", name], "issuer": "did:web:i", "validFrom": "2020-01-01T00:00:00Z", "credentialSubject": {}}))
        .collect();
    ParticipantAgent::new(Did::new("did:web:c").unwrap(), &credentials)
}

fn atom(left: &str, right: &str) -> Value {
    json!({"leftOperand": left, "operator": "eq", "rightOperand": right})
}

fn permission(constraints: Value) -> Value {
    json!({"@type": "Set", "permission": [{"action": "use", "constraint": constraints}]})
}

fn verdict(policy: &Value, scope: PolicyScope, credentials: &[&str]) -> Verdict {
    let (policy, settings, agent): (Policy, _, _) = (serde_json::from_value(policy.clone()).unwrap(), settings(), agent(credentials));
    let agreement = AgreementFacts {
        id: AgreementId::new("ag").unwrap(),
        asset: AssetId::new("a").unwrap(),
        provider: Did::new("did:web:p").unwrap(),
        consumer: Did::new("did:web:c").unwrap(),
        signed: Timestamp::from_seconds(1000),
    };
    let now = Timestamp::parse_rfc3339("2026-11-22T10:00:00Z").unwrap();
    let comparisons = Comparisons::of(&policy);
    let evaluation = match scope {
        PolicyScope::TransferProcess => Evaluation::under(&agreement, &settings, &agent, now),
        PolicyScope::PolicyMonitor => Evaluation::of_running(&agreement, &settings, &agent, now),
        PolicyScope::Catalog | PolicyScope::ContractNegotiation => Evaluation::new(scope, &settings, &agent, now),
    };
    let verdict = evaluate(&policy, &evaluation);
    assert_eq!(is_fulfilled(&policy, &evaluation), verdict.is_fulfilled(), "{policy:?}");
    let fresh = Evaluation { judged: RefCell::default(), ..evaluation };
    assert!(comparisons.iter().all(|comparisons| comparisons.are_fulfilled(&fresh) == verdict.is_fulfilled()), "{policy:?}");
    verdict
}

#[test]
fn policies_that_are_nothing_but_comparisons() {
    let (m, f) = (atom("Membership", "active"), atom("Manufacturer", "active"));
    let table = [
        (json!({"@type": "Set"}), Some(0)),
        (permission(json!([])), Some(0)),
        (permission(json!([m, f])), Some(2)),
        (
            json!({"@type": "Set", "permission": [{"action": "use", "constraint": [m], "duty": [{"action": "use", "constraint": [f]}]}]}),
            Some(2),
        ),
        (
            json!({"@type": "Set", "permission": [{"action": "use", "constraint": [m], "duty": [{"action": "inform", "constraint": [f]}]}]}),
            None,
        ),
        (permission(json!([m, {"or": [m, f]}])), None),
        (json!({"@type": "Set", "permission": [{"action": "use"}, {"action": "sell"}]}), None),
        (json!({"@type": "Set", "permission": [{"action": "use"}], "prohibition": [{"action": "sell"}]}), None),
        (json!({"@type": "Set", "permission": [{"action": "use"}], "obligation": [{"action": "use", "constraint": [f]}]}), None),
    ];
    for (policy, expected) in table {
        let comparisons = Comparisons::of(&serde_json::from_value(policy.clone()).unwrap());
        assert_eq!(comparisons.map(|comparisons| comparisons.len()), expected, "{policy}");
    }
}

#[test]
fn policies_and_claims() {
    use PolicyScope::{Catalog, ContractNegotiation, PolicyMonitor, TransferProcess};
    const MEMBER: &[&str] = &["MembershipCredential"];
    const MAKER: &[&str] = &["MembershipCredential", "ManufacturerCredential"];
    let (m, f) = (atom("Membership", "active"), atom("Manufacturer", "active"));
    let late = atom("Late", "x");
    let long_ago = json!({"leftOperand": "inForceDate", "operator": "lteq", "rightOperand": "contractAgreement+1d"});
    let table: Vec<(&str, Value, PolicyScope, &[&str], bool)> = vec![
        ("no rules", json!({"@type": "Set"}), Catalog, &[], true),
        ("no constraints", permission(json!([])), Catalog, &[], true),
        ("met", permission(json!([m])), Catalog, MEMBER, true),
        ("unmet", permission(json!([m])), Catalog, &[], false),
        ("both met", permission(json!([m, f])), Catalog, MAKER, true),
        ("one unmet", permission(json!([m, f])), Catalog, MEMBER, false),
        (
            "two permissions, one unmet",
            json!({"@type": "Set", "permission": [{"action": "use", "constraint": [m]}, {"action": "use", "constraint": [f]}]}),
            Catalog,
            MEMBER,
            false,
        ),
        ("and", permission(json!([{"and": [m, f]}])), Catalog, MAKER, true),
        ("and, one unmet", permission(json!([{"and": [m, f]}])), Catalog, MEMBER, false),
        ("andSequence", permission(json!([{"andSequence": [m, f]}])), Catalog, MEMBER, false),
        ("or", permission(json!([{"or": [m, f]}])), Catalog, MEMBER, true),
        ("or, none", permission(json!([{"or": [m, f]}])), Catalog, &[], false),
        ("or, one unknown", permission(json!([{"or": [m, atom("Unknown", "x")]}])), Catalog, MEMBER, true),
        ("or, only unknown", permission(json!([{"or": [f, atom("Unknown", "x")]}])), Catalog, MEMBER, false),
        ("xone", permission(json!([{"xone": [m, f]}])), Catalog, MEMBER, true),
        ("xone, both", permission(json!([{"xone": [m, f]}])), Catalog, MAKER, false),
        ("xone, one unknown", permission(json!([{"xone": [m, atom("Unknown", "x")]}])), Catalog, MEMBER, false),
        ("nested", permission(json!([{"or": [{"and": [m, f]}, atom("Did", "did:web:c")]}])), Catalog, &[], true),
        ("unknown left operand", permission(json!([atom("Unknown", "x")])), Catalog, MAKER, false),
        ("missing keys are no match", permission(json!([atom("Gap", "x")])), Catalog, MAKER, false),
        ("expression that does not fit", permission(json!([atom("Bad", "x")])), Catalog, MAKER, false),
        ("all expressions of an operand", permission(json!([atom("Two", "ok")])), Catalog, &[], true),
        ("one of them false", permission(json!([atom("Two", "no")])), Catalog, &[], false),
        ("not for this scope", permission(json!([late])), Catalog, &[], true),
        ("for this scope, by prefix", permission(json!([late])), ContractNegotiation, &[], false),
        ("not for this scope, in a joint", permission(json!([{"or": [late, m]}])), Catalog, &[], false),
        ("running, met", permission(json!([atom("Watch", "did:web:c")])), PolicyMonitor, &[], true),
        ("running, unmet", permission(json!([atom("Watch", "did:web:x")])), PolicyMonitor, &[], false),
        ("not running", permission(json!([atom("Watch", "did:web:x")])), TransferProcess, &[], true),
        ("running, or by what is not asked now", permission(json!([{"or": [atom("Watch", "did:web:x"), m]}])), PolicyMonitor, &[], true),
        (
            "running, either by what is not asked now",
            permission(json!([{"xone": [atom("Watch", "did:web:c"), m]}])),
            PolicyMonitor,
            &[],
            true,
        ),
        ("running, and what is not asked now", permission(json!([{"and": [atom("Watch", "did:web:x"), m]}])), PolicyMonitor, &[], false),
        (
            "running, the date has passed but not what is not asked now",
            permission(json!([{"and": [atom("Watch", "did:web:c"), {"or": [long_ago, m]}]}])),
            PolicyMonitor,
            &[],
            true,
        ),
        ("running, the date has passed", permission(json!([atom("Watch", "did:web:c"), long_ago])), PolicyMonitor, &[], false),
        (
            "running, prohibited by what is not asked now",
            json!({"@type": "Set", "prohibition": [{"action": "use", "constraint": [atom("Watch", "did:web:c"), m]}]}),
            PolicyMonitor,
            &[],
            true,
        ),
        (
            "running, prohibited",
            json!({"@type": "Set", "prohibition": [{"action": "use", "constraint": [atom("Watch", "did:web:c")]}]}),
            PolicyMonitor,
            &[],
            false,
        ),
        ("an expression for requests gives no meaning", permission(json!([atom("Offered", "x")])), TransferProcess, MEMBER, false),
        (
            "running, but the expressions mean all scopes",
            permission(json!([atom("Two", "no"), atom("Did", "x"), m])),
            PolicyMonitor,
            &[],
            true,
        ),
        ("not for this action", json!({"@type": "Set", "permission": [{"action": "sell", "constraint": [m]}]}), Catalog, MEMBER, false),
        ("for any action", json!({"@type": "Set", "permission": [{"action": "sell", "constraint": [f]}]}), Catalog, MAKER, true),
        ("operand by IRI", permission(json!([atom("http://www.w3.org/ns/odrl/2/Membership", "x")])), Catalog, MEMBER, true),
        (
            "duty unmet",
            json!({"@type": "Set", "permission": [{"action": "use", "duty": [{"action": "use", "constraint": [f]}]}]}),
            Catalog,
            MEMBER,
            false,
        ),
        ("obligation unmet", json!({"@type": "Set", "obligation": [{"action": "use", "constraint": [f]}]}), Catalog, MEMBER, false),
        ("obligation met", json!({"@type": "Set", "obligation": [{"action": "use", "constraint": [f]}]}), Catalog, MAKER, true),
        ("prohibition that matches", json!({"@type": "Set", "prohibition": [{"action": "use", "constraint": [f]}]}), Catalog, MAKER, false),
        (
            "prohibition that does not",
            json!({"@type": "Set", "prohibition": [{"action": "use", "constraint": [f]}]}),
            Catalog,
            MEMBER,
            true,
        ),
        (
            "prohibition, one of two matches",
            json!({"@type": "Set", "prohibition": [{"action": "use", "constraint": [m, f]}]}),
            Catalog,
            MEMBER,
            true,
        ),
        (
            "prohibition, both match",
            json!({"@type": "Set", "prohibition": [{"action": "use", "constraint": [m, f]}]}),
            Catalog,
            MAKER,
            false,
        ),
        (
            "prohibition, one matches and one cannot be judged",
            json!({"@type": "Set", "prohibition": [{"action": "use", "constraint": [m, atom("Unknown", "x")]}]}),
            Catalog,
            MEMBER,
            false,
        ),
        (
            "prohibition, one does not match and one cannot be judged",
            json!({"@type": "Set", "prohibition": [{"action": "use", "constraint": [f, atom("Unknown", "x")]}]}),
            Catalog,
            MEMBER,
            true,
        ),
        (
            "prohibition that cannot be judged",
            json!({"@type": "Set", "prohibition": [{"action": "use", "constraint": [atom("Unknown", "x")]}]}),
            Catalog,
            &[],
            false,
        ),
        ("prohibition of use", json!({"@type": "Set", "prohibition": [{"action": "use"}]}), Catalog, MAKER, false),
        ("prohibition of something else", json!({"@type": "Set", "prohibition": [{"action": "sell"}]}), Catalog, MAKER, true),
        ("agreement is there", permission(json!([atom("Signed", "x")])), TransferProcess, &[], true),
        ("agreement is not there", permission(json!([atom("Signed", "x")])), ContractNegotiation, &[], false),
    ];
    for (what, policy, scope, credentials, expected) in table {
        let verdict = verdict(&policy, scope, credentials);
        assert_eq!(verdict.is_fulfilled(), expected, "{what}: {verdict:?}");
    }
}

/// One evaluation judges the policies of a message, each by its own constraints; another counterparty is another evaluation.
#[test]
fn policies_of_one_message() {
    let (settings, now) = (settings(), Timestamp::parse_rfc3339("2026-11-22T10:00:00Z").unwrap());
    let level =
        |level: i64| json!({"type": ["LevelCredential"], "validFrom": "2020-01-01T00:00:00Z", "credentialSubject": {"level": level}});
    let policies: Vec<Policy> = (0..6)
        .map(|n| permission(json!([{"leftOperand": "Level", "operator": "gteq", "rightOperand": n}, atom("Did", "did:web:c")])))
        .map(|policy| serde_json::from_value(policy).unwrap())
        .collect();
    let counterparties =
        [("did:web:c", Some(3)), ("did:web:c", Some(1)), ("did:web:c", None), ("did:web:d", Some(5)), ("did:web:c", Some(5))];
    for (did, held) in counterparties {
        let agent = ParticipantAgent::new(Did::new(did).unwrap(), &held.map(level).into_iter().collect::<Vec<_>>());
        let evaluation = Evaluation::new(PolicyScope::Catalog, &settings, &agent, now);
        for (n, policy) in policies.iter().enumerate().chain(policies.iter().enumerate()) {
            let expected = did == "did:web:c" && held.is_some_and(|held| held >= i64::try_from(n).unwrap());
            assert_eq!(is_fulfilled(policy, &evaluation), expected, "{did} {held:?} {n}");
        }
    }
}

#[test]
fn reasons_name_what_was_required_only() {
    let policy = permission(json!([atom("Manufacturer", "active"), {"or": [atom("Did", "did:web:x"), atom("Unknown", "y")]}]));
    let verdict = verdict(&policy, PolicyScope::ContractNegotiation, &["SecretCredential"]);
    assert_eq!(
        verdict.reasons(),
        [
            "use requires Manufacturer eq active",
            "use requires (Did eq did:web:x or Unknown eq y), but its left operand has no meaning here"
        ]
    );
    assert!(!verdict.reason().contains("Secret") && !verdict.reason().contains("did:web:c"));
    let long = permission(json!([atom("Unknown", &"x".repeat(1000))]));
    assert!(self::verdict(&long, PolicyScope::Catalog, &[]).reason().len() < 250);
}

/// The owner is told what was found; what the counterparty is told does not depend on it.
#[test]
fn findings_are_told_in_full() {
    use PolicyScope::{ContractNegotiation, TransferProcess};
    let level = json!({"leftOperand": "Level", "operator": "gteq", "rightOperand": 3});
    let policy: Policy =
        serde_json::from_value(permission(json!([level, atom("Did", "did:web:x"), {"or": [level, atom("Unknown", "y")]}]))).unwrap();
    let settings = settings();
    let judged = |held: Option<i64>| {
        let credential = |level: i64| json!({"type": ["VerifiableCredential", "LevelCredential"], "issuer": "did:web:i", "validFrom": "2020-01-01T00:00:00Z", "credentialSubject": {"level": level}});
        let agent = ParticipantAgent::new(Did::new("did:web:c").unwrap(), &held.map(credential).into_iter().collect::<Vec<_>>());
        let evaluation = Evaluation::new(ContractNegotiation, &settings, &agent, Timestamp::parse_rfc3339("2026-11-22T10:00:00Z").unwrap());
        evaluate(&policy, &evaluation)
    };
    let (low, lower, none) = (judged(Some(1)), judged(Some(0)), judged(None));
    assert_eq!(
        low.in_full(),
        "use requires Level gteq 3, found 1 >= 3; use requires Did eq did:web:x, found \"did:web:c\" == \"did:web:x\"; \
         use requires (Level gteq 3 or Unknown eq y), but its left operand has no meaning here, found 1 >= 3; \
         presented: LevelCredential of did:web:i"
    );
    assert!(none.in_full().contains("found nothing >= 3") && none.in_full().ends_with("presented: no credential"), "{}", none.in_full());
    assert_eq!(low.reason(), lower.reason());
    assert_ne!(low.in_full(), lower.in_full());
    assert!(!low.reason().contains("found") && !low.reason().contains("LevelCredential"), "{}", low.reason());
    assert_eq!(judged(Some(3)).reasons().len(), 1);
    let dated = verdict(
        &permission(json!([{"leftOperand": "inForceDate", "operator": "lteq", "rightOperand": "2026-01-01T00:00:00Z"}])),
        TransferProcess,
        &[],
    );
    assert!(dated.in_full().contains("found it is 2026-11-22T10:00:00Z"), "{}", dated.in_full());
    // Only what is not met was found: a date is not looked at before there is an agreement.
    let date = json!({"leftOperand": "inForceDate", "operator": "lteq", "rightOperand": "2026-01-01T00:00:00Z"});
    let joined =
        verdict(&permission(json!([{"and": [date, level, atom("Membership", "x")]}])), ContractNegotiation, &["MembershipCredential"]);
    assert!(joined.in_full().contains("found nothing >= 3; presented"), "{}", joined.in_full());
    assert_eq!(verdict(&permission(json!([])), TransferProcess, &[]).in_full(), "");
    // Bounded, whatever the policy is.
    let many = permission(json!(vec![json!({"or": vec![atom("Did", &"x".repeat(500)); 16]}); 10]));
    assert!(verdict(&many, ContractNegotiation, &[]).in_full().chars().count() < 8_100);
}

#[test]
fn flaws_of_a_policy() {
    let flaws = |policy: Value| flaws(&serde_json::from_value(policy).unwrap(), &settings());
    let of = |constraints: Value| flaws(permission(constraints));
    assert_eq!(of(json!([atom("Membership", "x"), atom("Did", "y"), {"or": [atom("Manufacturer", "x"), atom("Late", "x")]}])), [""; 0]);
    let unknown = of(json!([{"and": [atom("Unknown", "x"), {"or": [atom("Unknown", "y"), atom("Other", "z")]}]}]));
    assert_eq!(unknown.len(), 2, "{unknown:?}");
    assert!(unknown.iter().all(|flaw| flaw.contains("has no meaning here")), "{unknown:?}");
    let sold = json!({"@type": "Set", "permission": [{"action": "sell", "constraint": [atom("Membership", "x")]}]});
    assert_eq!(flaws(sold), ["the left operand Membership has no meaning for the action sell"]);
    for rules in ["prohibition", "obligation"] {
        assert_eq!(flaws(json!({"@type": "Set", rules: [{"action": "use", "constraint": [atom("Unknown", "x")]}]})).len(), 1, "{rules}");
    }
    let duty =
        json!({"@type": "Set", "permission": [{"action": "use", "duty": [{"action": "use", "constraint": [atom("Unknown", "x")]}]}]});
    assert_eq!(flaws(duty).len(), 1);
    let date = |operator: &str, right: Value| of(json!([{"leftOperand": "inForceDate", "operator": operator, "rightOperand": right}]));
    for good in ["2026-01-01T00:00:00Z", "contractAgreement+7d", "contractAgreement+0s"] {
        assert_eq!(date("gteq", json!(good)), [""; 0], "{good}");
    }
    for bad in [json!("soon"), json!("contractAgreement+7y"), json!(7)] {
        assert!(date("gteq", bad.clone())[0].ends_with("its date cannot be read"), "{bad}");
    }
    assert!(date("isA", json!("2026-01-01T00:00:00Z"))[0].ends_with("its operator does not compare dates"));
}

/// What cannot be judged here does not count against the one who is judged, what can be does.
#[test]
fn what_may_be_fulfilled() {
    let (settings, member) = (settings(), agent(&["MembershipCredential"]));
    let now = Timestamp::parse_rfc3339("2026-11-22T10:00:00Z").unwrap();
    let prohibition = |constraints: Value| json!({"@type": "Set", "prohibition": [{"action": "use", "constraint": constraints}]});
    let (yes, no, unknown) = (|| atom("Membership", "x"), || atom("Manufacturer", "x"), || atom("Unheard", "x"));
    for (policy, may) in [
        (permission(json!([])), true),
        (permission(json!([yes()])), true),
        (permission(json!([no()])), false),
        (permission(json!([unknown()])), true),
        (permission(json!([unknown(), no()])), false),
        (permission(json!([{"and": [unknown(), no()]}])), false),
        (permission(json!([{"or": [unknown(), no()]}])), true),
        (permission(json!([{"or": [no(), no()]}])), false),
        (permission(json!([atom("Bad", "x")])), true),
        (permission(json!([atom("Gap", "x")])), false),
        (prohibition(json!([yes()])), false),
        (prohibition(json!([no()])), true),
        (prohibition(json!([unknown()])), true),
        (prohibition(json!([])), false),
        (json!({"@type": "Set", "obligation": [{"action": "use", "constraint": [no()]}]}), false),
        (json!({"@type": "Set", "permission": [{"action": "use", "duty": [{"action": "use", "constraint": [no()]}]}]}), false),
    ] {
        let policy: Policy = serde_json::from_value(policy).unwrap();
        let evaluation = Evaluation::new(PolicyScope::ContractNegotiation, &settings, &member, now);
        assert_eq!(may_be_fulfilled(&policy, &evaluation), may, "{policy:?}");
    }
}

#[test]
fn in_force_date() {
    use PolicyScope::{Catalog, ContractNegotiation, TransferProcess};
    let at = |operator: &str, right: &str| {
        permission(json!([{"leftOperand": "https://w3id.org/edc/v0.0.1/ns/inForceDate", "operator": operator, "rightOperand": right}]))
    };
    let table = [
        (at("lteq", "2026-12-01T00:00:00Z"), TransferProcess, true),
        (at("lteq", "2026-11-01T00:00:00Z"), TransferProcess, false),
        (at("gteq", "2026-11-01T00:00:00Z"), TransferProcess, true),
        (at("lteq", "2026-11-01T00:00:00Z"), Catalog, true),
        (at("lteq", "2026-11-01T00:00:00Z"), ContractNegotiation, true),
        // Signed in 1970.
        (at("gt", "contractAgreement+7d"), TransferProcess, true),
        (at("lt", "contractAgreement+7d"), TransferProcess, false),
        (at("lt", "contractAgreement+36500d"), TransferProcess, true),
        (at("lt", "contractAgreement+9223372036854775807d"), TransferProcess, false),
        (at("lt", "contractAgreement+7y"), TransferProcess, false),
        (at("lt", "contractAgreement"), TransferProcess, false),
        (at("isA", "2026-11-01T00:00:00Z"), TransferProcess, false),
        (at("neq", "soon"), TransferProcess, false),
    ];
    for (policy, scope, expected) in table {
        assert_eq!(verdict(&policy, scope, &[]).is_fulfilled(), expected, "{policy} {scope:?}");
    }
}

#[test]
fn credentials_of_both_versions_look_the_same() {
    let old = json!({"type": "A", "issuer": "did:web:i", "issuanceDate": "x", "credentialSubject": {"a": 1}});
    let new = json!({"type": ["A"], "issuer": {"id": "did:web:i"}, "validFrom": "x", "validUntil": "y", "credentialSubject": [{"a": 1}]});
    let agent = ParticipantAgent::new(Did::new("did:web:c").unwrap(), &[old, new]);
    let vc = &agent.claims()["vc"];
    for key in ["type", "issuer", "issuanceDate", "credentialSubject"] {
        assert_eq!(vc[0][key], vc[1][key], "{key}");
    }
    assert_eq!(vc[1]["expirationDate"], json!("y"));
}

/// What was found out for a comparison under one action says nothing about another.
#[test]
fn a_shared_comparison_is_judged_for_each_action() {
    let rule = |action: &str| json!({"action": action, "constraint": [atom("Membership", "x")]});
    let policy: Policy = serde_json::from_value(json!({"@type": "Set", "permission": [rule("use"), rule("sell"), rule("use")]})).unwrap();
    let shared = policy.atomic_constraints().next().unwrap().clone();
    let policy = policy.with_atoms(&mut |_| shared.clone());
    let (settings, member) = (settings(), agent(&["MembershipCredential"]));
    let evaluation = Evaluation::new(PolicyScope::Catalog, &settings, &member, Timestamp::parse_rfc3339("2026-11-22T10:00:00Z").unwrap());
    assert_eq!(
        evaluate(&policy, &evaluation).reasons(),
        ["sell requires Membership eq x, but its left operand has no meaning for this action"]
    );
    assert_eq!(evaluation.judged.borrow().len(), 2);
}
