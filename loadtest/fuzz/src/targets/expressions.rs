//! Expressions of administrators over claims of counterparties.

use cellspace_actors::expressions::{Budget, Program, Val, Variables};
use cellspace_schemas::Timestamp;
use serde_json::json;

/// A line of JSON with claims, then the expression; without such a line, over claims of our own.
pub fn evaluate(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (first, rest) = text.split_once('\n').unwrap_or(("", text));
    let (claims, text) = match super::json(first.as_bytes()) {
        Some(claims) => (claims, rest),
        None => (
            json!({"agent": {"id": "did:web:a", "claims": {"vc": [{"type": ["T"], "credentialSubject": [{"id": "did:web:a", "n": 1.5}]}]}}}),
            text,
        ),
    };
    let Ok(program) = Program::compile(text) else { return };
    let this = json!({"leftOperand": "a", "operator": "eq", "rightOperand": ["x", 1]});
    let variables = Variables { this: Val::of(&this), ctx: Val::of(&claims), now: Timestamp::from_seconds(1_790_000_000) };
    let outcome = program.evaluate(&variables, &Budget::default());
    // The same question has the same answer.
    assert_eq!(format!("{outcome:?}"), format!("{:?}", program.evaluate(&variables, &Budget::default())));
    // Less to spend changes nothing but that it may not be enough.
    if let Ok(result) = program.evaluate(&variables, &Budget::of(100)) {
        assert_eq!(outcome.ok(), Some(result));
    }
}
