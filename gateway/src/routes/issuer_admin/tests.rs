//! Who may call which of these routes.

use super::*;

#[test]
fn provisioners_register_holders_and_nothing_else() {
    for route in routes() {
        let Access::Scope(scope, provisioner) = route.access else { panic!("{} is open", route.path) };
        let holders = route.path.starts_with("/participants/{participant}/holders");
        assert_eq!(provisioner == Provisioner::Listed, holders, "{}", route.path);
        let reads = route.method.is_safe();
        assert!(scope.ends_with(if reads { ":read" } else { ":write" }), "{} {scope}", route.path);
        let resource = route.path.split('/').nth(3).unwrap_or_default();
        assert!(scope.starts_with(&format!("issuer-admin-api:{resource}:")), "{} {scope}", route.path);
    }
}
