//! Which credentials are suspended, as the client knows it, and whether a list says so.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

/// A bit was set or cleared.
struct Change {
    on: bool,
    acknowledged: Option<Instant>,
}

/// What became of bits, the oldest change of each first. All were clear in the beginning.
#[derive(Default)]
pub struct Model(HashMap<usize, Vec<Change>>);

impl Model {
    /// This change of the bit is being sent; the last one of this bit was acknowledged.
    pub fn changing(&mut self, bit: usize, on: bool) {
        self.0.entry(bit).or_default().push(Change { on, acknowledged: None });
    }

    /// It was acknowledged: from now on every list must show it.
    pub fn changed(&mut self, bit: usize) {
        if let Some(change) = self.0.get_mut(&bit).and_then(|changes| changes.last_mut()) {
            change.acknowledged = Some(Instant::now());
        }
    }

    /// Whether a list whose request began then shows all that it must, and no more than it may: of each bit the last state that was acknowledged before, or one
    /// that was sent since.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judge(&self, began: Instant, shown: &HashSet<usize>) -> Result<(), String> {
        let may_be = |changes: &[Change], on: bool| {
            let due = changes.iter().rposition(|change| change.acknowledged.is_some_and(|at| at < began));
            due.is_none() && !on || changes.iter().skip(due.unwrap_or_default()).any(|change| change.on == on)
        };
        for (bit, changes) in &self.0 {
            let on = shown.contains(bit);
            if !may_be(changes, on) {
                return Err(format!("{bit} is {} shown as suspended", if on { "still" } else { "not" }));
            }
        }
        shown
            .iter()
            .find(|bit| !self.0.contains_key(bit))
            .map_or(Ok(()), |bit| Err(format!("{bit} is shown as suspended, which nobody did")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_change_must_be_shown_once_it_is_acknowledged() {
        let mut model = Model::default();
        let (none, one) = (HashSet::new(), HashSet::from([7]));
        let later = || Instant::now() + Duration::from_millis(1);
        let is = |model: &Model, at: Instant| (model.judge(at, &none).is_ok(), model.judge(at, &one).is_ok());
        let before = Instant::now();
        assert_eq!(is(&model, before), (true, false));
        model.changing(7, true);
        assert_eq!(is(&model, before), (true, true));
        model.changed(7);
        assert_eq!((is(&model, before), is(&model, later())), ((true, true), (false, true)));
        let suspended = later();
        model.changing(7, false);
        assert_eq!(is(&model, suspended), (true, true));
        model.changed(7);
        let after = suspended + Duration::from_millis(1);
        // Who asked before it was suspended may see either; who asked afterwards must see that it is not any more.
        assert_eq!((is(&model, before), is(&model, after)), ((true, true), (true, false)));
        assert!(model.judge(after, &HashSet::from([8])).is_err());
    }
}
