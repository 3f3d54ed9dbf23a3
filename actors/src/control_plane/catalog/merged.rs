//! What is under several access policies as one, in the order of the assets' ids.

use crate::control_plane::resources::{Offered, OfferedAssets, Offering, Rendered, Row, View};
use cellspace_schemas::{AssetId, management::Asset};
use itertools::{Either, Itertools};
use std::{borrow::Cow, iter::once, ops::Bound};

/// An asset with the offers that a counterparty sees, in the order of their definitions.
pub(super) struct Visible<'a> {
    pub(super) asset: &'a Rendered<Asset>,
    pub(super) row: Cow<'a, Row>,
}

impl<'a> Visible<'a> {
    /// An asset with all of these offers.
    pub(super) fn all_of(offered: &'a Offered) -> Self {
        Self { asset: offered.asset(), row: offered.row() }
    }

    /// An asset with some of its offers.
    pub(super) fn some_of(offered: &'a Offered, mut is_visible: impl FnMut(&'a Offering) -> bool) -> Self {
        let offers = offered.offers().values().map(AsRef::as_ref).filter(|offering| is_visible(offering));
        Self { asset: offered.asset(), row: Cow::Owned(Row::new(offered.asset(), offers)) }
    }
}

/// Where reading begins, and which way it goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum From<'c> {
    /// With the first one.
    Start,
    /// With the first one after this.
    After(&'c AssetId),
    /// With the last one before this, backwards.
    Before(&'c AssetId),
}

impl From<'_> {
    fn reaches(self, id: &str) -> bool {
        match self {
            Self::Start => true,
            Self::After(from) => id > from.as_str(),
            Self::Before(from) => id < from.as_str(),
        }
    }
}

/// An asset where it was found.
#[derive(Clone, Copy)]
enum Found<'a> {
    /// As the only one of a view.
    Only(&'a Row, &'a OfferedAssets),
    /// Among others.
    Among(&'a Offered),
}

impl<'a> Found<'a> {
    fn offered(self) -> Option<&'a Offered> {
        match self {
            Self::Only(_, assets) => assets.first().map(|(_, offered)| offered),
            Self::Among(offered) => Some(offered),
        }
    }

    fn alone(self) -> Visible<'a> {
        match self {
            Self::Only(row, _) => Visible { asset: row.asset(), row: Cow::Borrowed(row) },
            Self::Among(offered) => Visible::all_of(offered),
        }
    }
}

/// One asset with the offers of all places where it was found.
fn joined<'a>(found: &[Found<'a>]) -> Option<Visible<'a>> {
    let all: Vec<&Offered> = found.iter().filter_map(|found| found.offered()).collect();
    let asset = all.first()?.asset();
    let offers = all.iter().flat_map(|offered| offered.offers().values()).map(AsRef::as_ref);
    let offers = offers.sorted_by(|a, b| a.definition.definition.id.cmp(&b.definition.definition.id));
    Some(Visible { asset, row: Cow::Owned(Row::new(asset, offers)) })
}

/// Reads the views together. An asset that is in more than one is one asset with the offers of all of them.
pub(super) fn merged<'a: 'c, 'c>(views: &'c [&'a View], from: From<'c>) -> impl Iterator<Item = Visible<'a>> + 'c {
    let backwards = matches!(from, From::Before(_));
    let bounds = match from {
        From::Start => (Bound::Unbounded, Bound::Unbounded),
        From::After(id) => (Bound::Excluded(id), Bound::Unbounded),
        From::Before(id) => (Bound::Unbounded, Bound::Excluded(id)),
    };
    let read = move |view: &&'a View| {
        // A walk through a tree takes memory of its own: not for those of one asset, of which there may be many.
        if let Some(only) = view.only.as_deref() {
            return Either::Left(once((only.id(), Found::Only(only, &view.assets))).filter(move |(id, _)| from.reaches(id)));
        }
        let assets = view.assets.range::<AssetId, _>(bounds).map(|(id, offered)| (id.as_str(), Found::Among(offered)));
        Either::Right(if backwards { Either::Left(assets.rev()) } else { Either::Right(assets) })
    };
    let mut assets = views.iter().map(read).kmerge_by(move |(a, _), (b, _)| if backwards { a > b } else { a < b }).peekable();
    std::iter::from_fn(move || {
        let (id, first) = assets.next()?;
        let Some((_, second)) = assets.next_if(|(next, _)| *next == id) else { return Some(first.alone()) };
        let mut found = vec![first, second];
        while let Some((_, next)) = assets.next_if(|(next, _)| *next == id) {
            found.push(next);
        }
        joined(&found)
    })
}
