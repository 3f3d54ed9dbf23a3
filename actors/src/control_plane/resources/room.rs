//! Whether there is room for what a change would bring.

use super::{MAX_BYTES, MAX_LISTED, MAX_LOOSE_SELECTORS, MAX_OFFERS, Refusal, selectors::Anchor, state::State};
use cellspace_schemas::{ContractDefinitionId, query_spec::Criterion};

/// Whether so many bytes can be kept in place of the old ones.
pub(super) fn for_bytes(state: &State, old: usize, new: usize) -> Result<(), Refusal> {
    if new > old && state.bytes() - old + new > MAX_BYTES {
        return Err(Refusal::Limit { what: "bytes in its assets and contract definitions", limit: MAX_BYTES });
    }
    Ok(())
}

/// Whether the offers that a change brings can be kept. There are `most` of them at most; they, and the `old` ones that go for them, are counted only when
/// that may be too many.
pub(super) fn for_offers<I: IntoIterator>(
    state: &State,
    most: usize,
    old: impl FnOnce() -> usize,
    new: impl FnOnce() -> I,
) -> Result<(), Refusal> {
    if state.offers() + most <= MAX_OFFERS {
        return Ok(());
    }
    let left = MAX_OFFERS.saturating_sub(state.offers() - old());
    // One more than fits is enough to know.
    if new().into_iter().nth(left).is_some() {
        return Err(Refusal::Limit { what: "offers: pairs of an asset and a contract definition that selects it", limit: MAX_OFFERS });
    }
    Ok(())
}

/// Whether a definition can have this selector, in place of what it has when it is there.
pub(super) fn for_selector(state: &State, id: &ContractDefinitionId, selector: &[Criterion]) -> Result<(), Refusal> {
    let (anchor, old) = (state.anchor(selector), state.anchor_of(id));
    let was_loose = old.is_some_and(|old| matches!(old, Anchor::Loose));
    if matches!(anchor, Anchor::Loose) && state.loose_selectors() - usize::from(was_loose) >= MAX_LOOSE_SELECTORS {
        let what =
            "contract definitions that select assets neither by id nor by a value, a list or a beginning of one of up to 64 properties";
        return Err(Refusal::Limit { what, limit: MAX_LOOSE_SELECTORS });
    }
    if state.listed_by_selectors() - old.map_or(0, Anchor::listed) + anchor.listed() > MAX_LISTED {
        return Err(Refusal::Limit { what: "ids and values in the selectors of its contract definitions", limit: MAX_LISTED });
    }
    let old = || state.offered_by(id).len();
    for_offers(state, state.assets().len(), old, || state.selected(&anchor, selector))
}
