//! The language as policies use it.

use super::{Budget, CompileError, Failure, Program, Val, Variables};
use cellspace_schemas::Timestamp;
use serde_json::{Value, json};

fn claims() -> Value {
    json!({"agent": {"id": "did:web:c", "attributes": {}, "claims": {"vc": [
        {"@context": ["https://www.w3.org/2018/credentials/v1"], "type": ["VerifiableCredential", "MembershipCredential"], "issuer": {"id": "did:web:i"},
         "issuanceDate": "2026-01-01T00:00:00Z", "expirationDate": "2026-12-31T00:00:00Z",
         "credentialSubject": [{"id": "did:web:c", "membershipType": "full", "level": 3, "since": "2025-06-01T00:00:00Z", "a": {"b": "deep"}, "https://ex.org/x.y": "iri"}]},
        {"type": ["OldCredential"], "issuer": "did:web:other", "validFrom": "2020-01-01T00:00:00Z", "validUntil": "2021-01-01T00:00:00Z",
         "credentialSubject": [{"level": 1}]}
    ]}}})
}

fn run(text: &str) -> Result<bool, Failure> {
    let program = Program::compile(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    let (claims, right) = (claims(), json!("active"));
    let this =
        Val::record([("leftOperand", Val::text("MembershipCredential")), ("operator", Val::text("EQ")), ("rightOperand", Val::of(&right))]);
    let now = Timestamp::parse_rfc3339("2026-11-22T10:00:00Z").unwrap();
    program.evaluate(&Variables { this, ctx: Val::of(&claims), now }, &Budget::default())
}

#[test]
fn helpers_and_macros() {
    let table = [
        ("ctx.agent.claims.vc.withType('MembershipCredential').valid().size() > 0", true),
        ("ctx.agent.claims.vc.withType('OldCredential').size() == 1", true),
        ("ctx.agent.claims.vc.withType('OldCredential').valid().size() > 0", false),
        ("ctx.agent.claims.vc.withType('Other').size() > 0", false),
        ("ctx.agent.claims.vc.withIssuer('did:web:i').hasCredential('MembershipCredential')", true),
        ("ctx.agent.claims.vc.withIssuer('did:web:other').hasCredential('MembershipCredential')", false),
        ("ctx.agent.claims.vc.withContext('https://www.w3.org/2018/credentials/v1').size() == 1", true),
        ("ctx.agent.claims.vc.hasClaim('membershipType', 'full')", true),
        ("ctx.agent.claims.vc.hasClaim('membershipType', 'half')", false),
        ("ctx.agent.claims.vc.hasClaim('nothing')", false),
        ("ctx.agent.claims.vc.hasClaim('a.b', 'deep')", true),
        ("ctx.agent.claims.vc.hasClaim('https://ex.org/x.y')", true),
        ("ctx.agent.claims.vc.claim('level') == 3", true),
        ("ctx.agent.claims.vc.claim('nothing') == null", true),
        ("ctx.agent.claims.vc.claims('level') == [3, 1]", true),
        ("ctx.agent.claims.vc.exists(c, c.hasType('MembershipCredential') && c.valid() && c.claim('level') >= 3)", true),
        ("ctx.agent.claims.vc.exists(c, c.hasContext('none'))", false),
        (
            "ctx.agent.claims.vc.filter(c, c.type.exists(t, t == 'MembershipCredential')).exists(c, c.credentialSubject.exists(cs, timestamp(cs.since) < now))",
            true,
        ),
        ("ctx.agent.claims.vc.exists_one(c, 'MembershipCredential' in c.type)", true),
        ("ctx.agent.claims.vc.all(c, has(c.issuer))", true),
        ("ctx.agent.claims.vc.map(c, c.claim('level')).exists(l, l == 1)", true),
        ("ctx.agent.claims['vc'][0].credentialSubject[0].membershipType.startsWith('fu')", true),
        ("this.leftOperand == 'MembershipCredential' && this.operator == 'EQ' && this.rightOperand == 'active'", true),
        ("ctx.agent.id == 'did:web:c' ? true : false", true),
        ("ctx.agent.id != 'did:web:c' || 1 + 2 * 3 == 7", true),
        ("now > timestamp('2026-01-01T00:00:00Z') && now - timestamp('2026-11-22T09:00:00Z') == duration('1h')", true),
        ("now + duration('1d') > now && duration('90s') == duration('1m30s')", true),
        ("!(1 < 2.5) || 5 % 3 == 2 && -1 < 0 && 'a' + 'b' == 'ab' && [1] + [2] == [1, 2]", true),
        ("{'a': 1} == {'a': 1.0} && {'a': 1}.a == 1 && size('äö') == 2 && 'b' in {'b': 0}", true),
        ("int('7') == 7 && double(1) == 1.0 && string(2) == '2' && bool('true') && int(timestamp(5)) == 5", true),
    ];
    for (text, expected) in table {
        assert_eq!(run(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_missing() {
    assert!(matches!(run("ctx.agent.nothing == 1"), Err(Failure::NoSuchKey(_))));
    assert!(matches!(run("ctx.agent.claims.vc[9].type == 1"), Err(Failure::NoSuchKey(_))));
    // Within a filter an element that lacks the field does not match, and the others still count.
    assert_eq!(run("ctx.agent.claims.vc.filter(c, c.issuanceDate != '').size() == 1"), Ok(true));
    // A side that decides overrules the failure of the other.
    assert_eq!(run("ctx.x || true"), Ok(true));
    assert_eq!(run("false && ctx.x"), Ok(false));
    assert_eq!(run("ctx.agent.claims.vc.exists(c, c.issuanceDate == '2026-01-01T00:00:00Z')"), Ok(true));
    assert!(matches!(run("ctx.agent.claims.vc.all(c, c.issuanceDate != '')"), Err(Failure::NoSuchKey(_))));
}

#[test]
fn what_fails() {
    for text in
        ["1 / (2 - 2) == 1", "9223372036854775807 + 1 == 0", "timestamp('soon') < now", "duration('5') == duration('5s')", "int('x') == 1"]
    {
        assert!(matches!(run(text), Err(Failure::Range(_))), "{text}");
    }
    for text in
        ["'a' < 1", "!ctx.agent.id", "size(1) == 1", "ctx.agent.id", "1.all(x, true)", "ctx.agent.claims.vc.withType(1).size() == 0"]
    {
        assert!(matches!(run(text), Err(Failure::Type(_))), "{text}");
    }
}

#[test]
fn costs_are_bounded() {
    let list = format!("[{}]", vec!["1"; 100].join(","));
    let nested = format!("{list}.all(a, {list}.all(b, {list}.all(c, a + b + c > 0)))");
    assert_eq!(run(&nested), Err(Failure::Budget));
    let growing = format!(
        "{list}.map(a, 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx').map(t, t+t+t+t+t+t+t+t+t+t).map(t, t+t+t+t+t+t+t+t+t+t).size() == 0"
    );
    assert_eq!(run(&growing), Err(Failure::Budget));
}

#[test]
fn what_is_not_compiled() {
    let refused = |text: &str| Program::compile(text).expect_err(text);
    for (text, error) in [
        ("ctx.agent.claims.vc.withType('X')", CompileError::NotBoolean),
        ("1 + 1", CompileError::NotBoolean),
        ("'x'", CompileError::NotBoolean),
    ] {
        assert_eq!(refused(text), error, "{text}");
    }
    assert!(matches!(refused("ctx.agent.id =="), CompileError::Syntax(_)));
    assert!(matches!(refused(""), CompileError::Syntax(_)));
    assert!(matches!(refused("agent.id == 'x'"), CompileError::Unknown(_)));
    assert!(matches!(refused("ctx.vc.exists(c, d.x)"), CompileError::Unknown(_)));
    for text in ["ctx.id.matches('a*')", "b'x' == b'x'", "foo(ctx)", "M{a: 1}.a == 1", "withType(ctx.vc, 'X').size() == 1"] {
        assert!(matches!(refused(text), CompileError::Unsupported(_)), "{text}: {:?}", refused(text));
    }
    assert!(matches!(refused("size(1, 2) == 1"), CompileError::Syntax(_)));
}

#[test]
fn hostile_sources_neither_crash_nor_take_long() {
    let deep = [
        "!".repeat(4000) + "true",
        "-".repeat(4000) + "1 == 1",
        "(".repeat(2000) + "true" + &")".repeat(2000),
        "[".repeat(2000) + &"]".repeat(2000) + " == []",
        format!("ctx{} == 1", ".a".repeat(2000)),
        format!("ctx{} == 1", ".a".repeat(60)),
        format!("{}1 == 1", "1+".repeat(60)),
        format!("{}true", "!".repeat(60)),
        format!("{}true{}", "(".repeat(16), ")".repeat(16)),
        format!("{}1{} == 1", "[".repeat(16), "]".repeat(16)),
        format!("{}true", "(true ? ".repeat(8)),
        format!("{}x, true)", "[1].all(x, ".repeat(16)),
        format!("{}1", "(')'+".repeat(40)),
        format!("{}1", "('''a')'b'''+".repeat(40)),
        format!("{}1", "(r'\\'+')+".repeat(40)),
        format!("// '\n{}1", "(".repeat(400)),
        format!("{}true", "1==".repeat(20)),
        format!("{}true", "!(-(ctx.a.b[".repeat(15)),
        format!("{}1 == 1", "1+".repeat(2000)),
        format!("{}true", "true && ".repeat(500)),
        format!("{}true", "true ? true : ".repeat(16)),
        "x".repeat(5000),
    ];
    for text in deep {
        // Whatever the verdict, it is one.
        let _ = Program::compile(&text);
    }
    assert_eq!(run(&format!("{}true", "true && ".repeat(20))), Ok(true));
}
