//! The language as policies use it.

use super::{Budget, CompileError, Context, Failure, Program, Val};
use cellspace_schemas::{
    Timestamp,
    odrl::{AtomicConstraint, Operator},
};
use serde_json::{Value, json};

pub(super) fn claims() -> Value {
    json!({"agent": {"id": "did:web:c", "attributes": {}, "claims": {"vc": [
        {"@context": ["https://www.w3.org/2018/credentials/v1"], "type": ["VerifiableCredential", "MembershipCredential"], "issuer": {"id": "did:web:i"},
         "issuanceDate": "2026-01-01T00:00:00Z", "expirationDate": "2026-12-31T00:00:00Z",
         "credentialSubject": [{"id": "did:web:c", "membershipType": "full", "level": 3, "since": "2025-06-01T00:00:00Z", "a": {"b": "deep"}, "https://ex.org/x.y": "iri"}]},
        {"type": ["OldCredential"], "issuer": "did:web:other", "validFrom": "2020-01-01T00:00:00Z", "validUntil": "2021-01-01T00:00:00Z",
         "credentialSubject": [{"level": 1}]}
    ]}}})
}

pub(super) fn constraint(operator: Operator, right_operand: Value) -> AtomicConstraint {
    AtomicConstraint { left_operand: "MembershipCredential".to_owned(), operator, right_operand }
}

pub(super) fn context(claims: &Value) -> Context<'_> {
    Context::new(Val::of(claims), Timestamp::parse_rfc3339("2026-11-22T10:00:00Z").unwrap())
}

fn run(text: &str) -> Result<bool, Failure> {
    within(text, Budget::STEPS)
}

/// Evaluates with so many steps.
fn within(text: &str, steps: u32) -> Result<bool, Failure> {
    let program = Program::compile(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    let (claims, this) = (claims(), constraint(Operator::Eq, json!("active")));
    program.evaluate(&this, &context(&claims), &Budget::of(steps))
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

/// Every operator and function, on every type it is defined for.
#[test]
fn operators_and_functions() {
    let holds = [
        "!false && !!true",
        "-(3) == 0 - 3 && -(2.5) == 0.0 - 2.5",
        "null == null && true == true && true != false && 1 == 1.0 && 1.0 == 1 && 'a' == 'a' && 'a' != 'b' && 'é' != 'ab' && 'aé' != 'éb'",
        "1 != '1' && null != false && [] != {} && now != 1 && !(now == now + duration('1ms')) && duration('1s') == duration('1000ms')",
        "[1, 'a'] == [1.0, 'a'] && [1] != [1, 2] && [1, 2] != [2, 1] && {'a': [1]} == {'a': [1]} && {'a': 1} != {'b': 1} && {'a': 1} != {'a': 2}",
        "1 < 2 && 1 <= 1 && 2 > 1.5 && 2.5 >= 2 && 1.0 < 1.5 && !(2 < 1) && !(1 > 1) && !(1 >= 2) && !(2 <= 1)",
        "false < true && 'a' < 'b' && 'b' >= 'a' && now <= now && now > timestamp(0) && duration('1s') < duration('1m')",
        "1 in [2, 1] && !(3 in [1]) && 1.0 in [1] && 'a' in {'a': 1} && !(1 in {'a': 1}) && 'id' in ctx.agent && !('x' in ctx.agent)",
        "[1, 2][1] == 2 && {'a': 3}['a'] == 3 && ctx['agent']['id'] == 'did:web:c' && ctx.agent.claims.vc[1].type[0] == 'OldCredential'",
        "1 + 2 == 3 && 1.5 + 2.0 == 3.5 && 'a' + 'b' == 'ab' && [1] + ['a'] == [1, 'a'] && [1] + ctx.agent.claims.vc[1].type == [1, 'OldCredential']",
        "3 - 2 == 1 && 3.5 - 2.0 == 1.5 && 3 * 2 == 6 && 1.5 * 2.0 == 3.0 && 7 / 2 == 3 && 7.0 / 2.0 == 3.5 && 7 % 4 == 3",
        "now + duration('1h') - now == duration('1h') && duration('1h') + now - duration('1h') == now && now - now == duration('0s')",
        "duration('1h') + duration('30m') == duration('90m') && duration('1h') - duration('30m') == duration('1800s') && duration('-1s') < duration('0s')",
        "size('äö') == 2 && size([1, 2]) == 2 && size({'a': 1}) == 1 && size(ctx.agent) == 3 && ctx.agent.claims.vc.size() == 2",
        "'abc'.contains('b') && [1, 2].contains(2) && !'abc'.contains('d') && ctx.agent.claims.vc[0].type.contains('MembershipCredential')",
        "'abc'.startsWith('ab') && 'abc'.endsWith('bc') && !'abc'.startsWith('b') && !'abc'.endsWith('b') && ''.startsWith('')",
        "int(3) == 3 && int(3.9) == 3 && int(-3.9) == -3 && int('-7') == -7 && int(timestamp(5)) == 5 && int(timestamp('1970-01-01T00:00:07Z')) == 7",
        "double(3) == 3.0 && double(3.5) == 3.5 && double('2.5') == 2.5 && bool(true) && bool('true') && !bool('false')",
        "string('a') == 'a' && string(3) == '3' && string(2.5) == '2.5' && string(true) == 'true' && string(timestamp(0)).startsWith('1970-01-01T00:00:00')",
        "timestamp(now) == now && timestamp('1970-01-01T00:00:01Z') == timestamp(1) && duration(duration('1s')) == duration('1s')",
        "duration('1d') == duration('24h') && duration('1h1m1s1ms') == duration('3661001ms') && dyn(1) == 1 && dyn(ctx.agent.id) == 'did:web:c'",
        "18446744073709551615u == null && 7u == 7 && 1e3 == 1000 && r'\\n' != '\\n'",
        "true ? true : ctx.x == 1",
        "false ? ctx.x == 1 : true",
        "has(ctx.agent.id) && !has(ctx.agent.nothing) && !has(this.x) && has(this.operator) && !has({'a': 1}.b)",
        "this.size() == 3 && 'operator' in this && this['rightOperand'] == 'active' && size(ctx) == 1 && this.exists(k, k == 'leftOperand')",
        "this == {'leftOperand': 'MembershipCredential', 'operator': 'EQ', 'rightOperand': 'active'} && this != ctx && ctx == ctx",
        "ctx.agent.exists(k, k == 'claims') && {'a': 1, 'b': 2}.all(k, k < 'c') && {'a': 1}.map(k, k) == ['a'] && {}.all(k, false)",
        "[1, 2, 3].map(x, x > 1, x * 2) == [4, 6] && [3, 1].filter(x, x > 1) == [3] && [1, 2].exists_one(x, x == 2) && ![1, 1].exists_one(x, x == 1)",
        "[[1], [2]].all(x, x.exists(y, y > 0 && x.size() == 1)) && [1].all(x, [2].all(x, x == 2) && x == 1)",
        "ctx.agent.claims.vc.all(ctx, ctx.type.size() > 0) && [1].all(now, now == 1) && [2].all(this, this == 2)",
        "[1].map(x, ctx.agent.id) == ['did:web:c'] && [1, 2].map(x, [3, 4].map(y, x * y)) == [[3, 4], [6, 8]]",
    ];
    for text in holds {
        assert_eq!(run(text), Ok(true), "{text}");
    }
}

/// Every helper, on many credentials and on one.
#[test]
fn helpers() {
    let one = "ctx.agent.claims.vc[0]";
    let table = [
        "ctx.agent.claims.vc.valid().size() == 1",
        "!ctx.agent.claims.vc[1].valid() && ctx.agent.claims.vc[0].valid()",
        "{'validFrom': '2026-11-22T10:00:00Z', 'validUntil': '2026-11-22T10:00:00Z'}.valid()",
        "!{'validFrom': '2026-11-22T10:00:01Z'}.valid() && !{'validFrom': 'soon'}.valid() && !{'validFrom': 1}.valid() && !{}.valid()",
        "!{'issuanceDate': '2026-01-01T00:00:00Z', 'expirationDate': 'never'}.valid() && {'issuanceDate': '2026-01-01T00:00:00Z'}.valid()",
        "!{'validFrom': '2027-01-01T00:00:00Z', 'issuanceDate': '2026-01-01T00:00:00Z'}.valid()",
        "ONE.withType('MembershipCredential').size() == 1 && ONE.withType('x') == []",
        "ONE.hasType('MembershipCredential') && ONE.hasCredential('MembershipCredential') && !ONE.hasType('x')",
        "ONE.hasContext('https://www.w3.org/2018/credentials/v1') && ONE.withContext('https://www.w3.org/2018/credentials/v1').size() == 1",
        "ONE.withIssuer('did:web:i').size() == 1 && ctx.agent.claims.vc[1].withIssuer('did:web:other').size() == 1 && {}.withIssuer('').size() == 0",
        "ONE.hasClaim('level') && ONE.hasClaim('level', 3.0) && !ONE.hasClaim('level', '3') && ONE.claim('a') == {'b': 'deep'} && ONE.claims('a.b') == ['deep']",
        "null.withType('x') == [] && null.claim('x') == null && {'type': 'X'}.hasType('X') && [{'type': 'X'}].hasType('X') && !'X'.hasType('X')",
        "{'credentialSubject': {'x': null}}.claims('x') == [] && {'credentialSubject': [{'x': 1}, {'x': 2}]}.claims('x') == [1, 2]",
        "ctx.agent.claims.vc.hasClaim('level', 1) && !ctx.agent.claims.vc.hasClaim('level', 2)",
    ];
    for text in table {
        let text = text.replace("ONE", one);
        assert_eq!(run(&text), Ok(true), "{text}");
    }
}

/// What is missing, undefined or out of range fails as such.
#[test]
fn failures_by_class() {
    let missing = [
        "ctx.x == 1",
        "this.x == 1",
        "ctx['x'] == 1",
        "[1][1] == 1",
        "[1][-1] == 1",
        "ctx.agent.claims.vc[0].type[7] == ''",
        "{'a': 1}.b == 1",
        "ctx.agent.id.x == 1",
        "1 == 1 ? ctx.x : true",
        "ctx.x ? true : true",
        "ctx.x && true",
        "ctx.x || false",
        "[ctx.x] == []",
        "{'a': ctx.x} == {}",
        "[1].map(x, ctx.x) == []",
        "[1].all(x, true) && ctx.x",
        "ctx.x.claim('a') == 1",
        "(ctx.x ? true : true) && [1].all(x, ctx.x ? true : true)",
        "size([ctx.x ? 1 : 2]) == 1 && [1].all(x, size([ctx.x ? 1 : 2]) == 1)",
        "[1].all(x, size([ctx.x ? 1 : 2]) == 1) && size([ctx.x ? 1 : 2]) == 1",
    ];
    for text in missing {
        assert!(matches!(run(text), Err(Failure::NoSuchKey(_))), "{text}: {:?}", run(text));
    }
    let undefined = [
        "!1",
        "-'a' == 1",
        "1 < 'a'",
        "null <= null",
        "[] > []",
        "ctx >= ctx",
        "now > 1",
        "1 in 2",
        "'a' in 'ab'",
        "[1]['a'] == 1",
        "{'a': 1}[0] == 1",
        "'a'[0] == 'a'",
        "1 + 1.0 == 2.0",
        "1 + 'a' == 'a'",
        "7.0 % 2.0 == 1.0",
        "now + now == now",
        "now + 1 == now",
        "'a' - 'a' == ''",
        "duration('1s') * 2 == duration('2s')",
        "size(null) == 0",
        "size(now) == 0",
        "1.contains(1)",
        "'a'.contains(1)",
        "{'a': 1}.contains('a')",
        "'a'.startsWith(1)",
        "[1].endsWith(1)",
        "int(true) == 1",
        "int(null) == 1",
        "double(true) == 1.0",
        "string(null) == ''",
        "string(duration('1s')) == '1s'",
        "bool(1)",
        "timestamp(1.5) == now",
        "duration(1) == duration('1s')",
        "int(1e19) == 1",
        "1 ? true : false",
        "true && 1",
        "1 || false",
        "this.operator",
        "now",
        "{1: 2} == {}",
        "'a'.all(x, true)",
        "ctx.agent.claims.vc.hasType(null)",
        "ctx.agent.claims.vc.claim(this.size()) == 1",
    ];
    for text in undefined {
        assert!(matches!(run(text), Err(Failure::Type(_))), "{text}: {:?}", run(text));
    }
    let out_of_range = [
        "-(-9223372036854775807 - 1) == 0",
        "9223372036854775807 * 2 == 0",
        "-9223372036854775807 - 2 == 0",
        "1 / 0 == 1",
        "1 % 0 == 1",
        "int('9223372036854775808') == 0",
        "double('x') == 0.0",
        "bool('yes')",
        "timestamp('2026-13-01T00:00:00Z') < now",
        "duration('') == duration('1s')",
        "duration('1y') == duration('1s')",
        "duration('9223372036854775807s') == duration('1s')",
        "timestamp('9999-12-31T23:59:59Z') + duration('9223372036854775807ms') > now",
    ];
    for text in out_of_range {
        assert!(matches!(run(text), Err(Failure::Range(_))), "{text}: {:?}", run(text));
    }
    // In a macro what lacks a key is no match, but a failure of another kind is one.
    assert_eq!(run("[1].filter(x, ctx.x == 1).size() == 0"), Ok(true));
    assert_eq!(run("[1].map(x, (ctx.x == 1 ? 1 : 2)) == [2]"), Ok(true));
    assert!(matches!(run("[1].filter(x, x < 'a').size() == 0"), Err(Failure::Type(_))));
    assert!(matches!(run("[1 / 0].size() == 1 || ctx.x"), Err(Failure::NoSuchKey(_) | Failure::Range(_))));
    // A failure of an element is overruled by a later one that decides, whichever macro it is.
    assert_eq!(run("![1, 2].all(x, x == 1 ? ctx.x : false)"), Ok(true));
    assert_eq!(run("[1, 2].exists(x, x == 1 ? [][0] : true)"), Ok(true));
}

/// What an evaluation costs: with so many steps it succeeds, with one less it does not, whether it is the first in its context or not.
#[test]
fn costs() {
    let long = "x".repeat(640);
    let table = [
        ("true", 1),
        ("1 + 2 == 3", 6),
        ("ctx.agent.id == 'did:web:c'", 6),
        ("this.operator == 'EQ' && this.rightOperand == 'active'", 11),
        ("this.operator == 'NEQ' ? true : false", 7),
        ("false && ctx.agent.id == ''", 2),
        ("true || ctx.agent.id == ''", 2),
        ("ctx.x || true", 4),
        ("has(ctx.agent.id)", 3),
        ("[1, 2, 3] == [1, 2, 3]", 13),
        ("[1, 2, 3] == [1, 2]", 9),
        ("{'a': 1} == {'a': 1}", 9),
        ("3 in [1, 2, 3]", 12),
        ("'id' in ctx.agent", 10),
        ("'LONG' == 'LONG'", 14),
        ("'LONG' + 'LONG' == ''", 26),
        ("'LONG'.contains('LONG')", 23),
        ("'LONG'.startsWith('x')", 13),
        ("size([1, 2] + [3, 4, 5, 6, 7, 8, 9]) == 9", 17),
        ("[1, 2].all(x, x > 0)", 22),
        ("[1, 2].exists(x, x == 1)", 20),
        ("[1, 2].map(x, x) == [1, 2]", 25),
        ("[1, 2].filter(x, ctx.x == x) == []", 23),
        ("[1, 2].exists_one(x, x == 1)", 27),
        ("ctx.agent.claims.vc.withType('MembershipCredential').valid().claim('level') == 3", 17),
        ("ctx.agent.claims.vc.withType('MembershipCredential').valid().claim('level') in [1, 2, 3]", 25),
        ("this.operator == 'EQ' ? ctx.agent.claims.vc.valid().claim('level') == 3 : ctx.agent.claims.vc.valid().claim('level') >= 3", 20),
        ("this.operator == 'NE' ? ctx.agent.claims.vc.valid().claim('level') == 3 : ctx.agent.claims.vc.valid().claim('level') >= 3", 19),
        ("ctx.agent.claims.vc.hasClaim('membershipType', 'full')", 12),
        ("ctx.agent.claims.vc.claims('level') == [3, 1]", 17),
        ("ctx.agent.claims.vc.exists(c, c.hasType('MembershipCredential') && c.valid() && c.claim('level') >= 3)", 33),
        ("ctx.agent.claims.vc.all(c, ctx.agent.claims.vc.size() == 2 && c.type.size() > 0)", 45),
        ("now > timestamp('2026-01-01T00:00:00Z')", 4),
    ];
    for (text, steps) in table {
        let program = Program::compile(&text.replace("LONG", &long)).unwrap();
        let (claims, this) = (claims(), constraint(Operator::Eq, json!("active")));
        let context = context(&claims);
        let spent = |steps| program.evaluate(&this, &context, &Budget::of(steps)) == Err(Failure::Budget);
        assert_eq!((0..=Budget::STEPS).find(|steps| !spent(*steps)), Some(steps), "{text}");
        assert!(spent(steps - 1) && !spent(steps), "{text}");
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
fn hostile_sources_do_not_crash() {
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

#[test]
fn what_was_found_is_told_in_words() {
    const MEMBER: &str = "ctx.agent.claims.vc.withType('MembershipCredential').valid()";
    let table = [
        (format!("{MEMBER}.claim('level') >= 5"), vec!["3 >= 5"]),
        (format!("{MEMBER}.size() > 0 && {MEMBER}.claim('level') == this.rightOperand"), vec!["3 == \"active\""]),
        (
            format!("{MEMBER}.claim('level') > 8 || {MEMBER}.claim('since') == 'never'"),
            vec!["3 > 8", "\"2025-06-01T00:00:00Z\" == \"never\""],
        ),
        (format!("this.operator == 'EQ' ? {MEMBER}.claim('level') in [1, 2] : false"), vec!["3 in [1, 2]"]),
        ("ctx.agent.claims.vc.hasClaim('level', 7)".to_owned(), vec!["claim \"level\" in [3, 1]"]),
        ("ctx.agent.claims.vc.hasClaim('nothing', 7)".to_owned(), vec!["claim \"nothing\" in []"]),
        ("ctx.agent.nothing == 'x'".to_owned(), vec!["nothing == \"x\""]),
        ("now > timestamp('2030-01-01T00:00:00Z')".to_owned(), vec!["2026-11-22T10:00:00Z > 2030-01-01T00:00:00Z"]),
        (format!("ctx.agent.id == '{}'", "x".repeat(200)), vec![]),
        ("ctx.agent.claims.vc.exists(c, c.hasType('Other'))".to_owned(), vec![]),
    ];
    for (text, expected) in table {
        let program = Program::compile(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let (claims, this) = (claims(), constraint(Operator::Eq, json!("active")));
        let context = context(&claims);
        assert_ne!(program.evaluate(&this, &context, &Budget::default()), Ok(true), "{text}");
        let found = program.found(&this, &context);
        if text.len() < 200 {
            assert_eq!(found, expected, "{text}");
        } else {
            assert!(found[0].starts_with("\"did:web:c\" == \"xxx") && found[0].len() < 120, "{found:?}");
        }
    }
    // What was not found for want of steps is not told as nothing.
    let (held, this) = (claims(), constraint(Operator::Eq, json!("active")));
    let (seen, level) = (context(&held), Program::compile("ctx.agent.id == 'x'").unwrap());
    let found = |steps| level.found_within(&this, &seen, &Budget::of(steps));
    assert_eq!((found(1), found(Budget::STEPS)), (vec![], vec!["\"did:web:c\" == \"x\"".to_owned()]));
    // However much there is to tell, it is bounded.
    let many = Program::compile(&["ctx.agent.id == 'x'"; 12].join(" || ")).unwrap();
    let (claims, this) = (claims(), constraint(Operator::Eq, json!("active")));
    assert_eq!(many.found(&this, &context(&claims)).len(), 4);
}
