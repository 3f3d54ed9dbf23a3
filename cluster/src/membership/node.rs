//! A node's part in its cell's membership, pure: what it read and heard goes in, what it is to do comes out.

use super::{
    dealt::Rings,
    lease::{Ended, OwnLease},
    plan,
    table::{Answer, ServedLast, Table},
    terms::{Moment, Terms},
    watch::Watch,
};
use cellspace_schemas::Timestamp;
use cellspace_storage::{Incarnation, Lease, Member, NodeName, Settled, Swap, View};
use std::time::Duration;

/// Hops that a request takes at most from where it came in.
pub const MOST_HOPS: u8 = 2;

/// What a node is to do after it looked at the rows. It looks again when it has done something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Slots that are admitted no more; [`Node::ended`] when their last turns have ended.
    pub closes: Vec<u16>,
    /// Leases to be taken away: `(before, next)`.
    pub revokes: Vec<(Lease, Lease)>,
    /// The view to be put in the place of the present one.
    pub change: Option<View>,
}

/// Where a request for a slot goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// It is served here.
    Here,
    /// It waits a moment: the slot is this node's and is about to open.
    Hold,
    /// It goes on to this node, with so many hops behind it.
    Forward(Member, u8),
    /// Who sent it has seen a newer view: look for that first.
    Refresh,
    /// It is not executed.
    Unavailable(&'static str),
}

/// One life of a node.
#[derive(Debug, Clone)]
pub struct Node {
    me: Member,
    terms: Terms,
    rings: Rings,
    lease: OwnLease,
    /// By then the node's earlier life has lost its lease.
    alone_from: Moment,
    watch: Watch,
    table: Table,
    view: Option<View>,
    applied: Moment,
    leaves: bool,
    /// It is no member, and becomes none.
    outside: bool,
}

impl Node {
    /// A life that begins `now` with this row, which was put in the place of none or of an earlier one's. It is to apply the view before anything else.
    #[must_use]
    pub fn new(before: Option<Lease>, row: Lease, terms: Terms, rings: Rings, now: Moment) -> Self {
        let me = row.member();
        Self {
            table: Table::new(me.clone(), before, &rings, &terms),
            lease: OwnLease::new(row),
            alone_from: now + terms.patience(),
            watch: Watch::default(),
            view: None,
            applied: now,
            leaves: false,
            outside: false,
            me,
            terms,
            rings,
        }
    }

    /// One that is no member and never becomes one: it has no lease, serves nothing and judges nobody, and knows where slots are.
    #[must_use]
    pub fn outside(node: NodeName, level: u16, terms: Terms, rings: Rings, now: Moment) -> Self {
        // No life of a member has this number.
        let row = Lease::first(Member { node, incarnation: Incarnation(0) }, level, "");
        Self { outside: true, ..Self::new(None, row, terms, rings, now) }
    }

    /// Who this is.
    #[must_use]
    pub const fn me(&self) -> &Member {
        &self.me
    }

    /// The view that was applied last.
    #[must_use]
    pub const fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// Its version; 0 before the first.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.table.version()
    }

    /// Whether the node is part of the view.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.deal.members().contains(&self.me))
    }

    /// The node is to leave: it hands its slots over, and is no member any more when that is done.
    pub const fn leave(&mut self) {
        self.leaves = true;
    }

    /// Begins a renewal of the lease: `(before, next)` to be put. The rows are to be read after it. `clock`: the time of day.
    pub fn renewal(&mut self, now: Moment, clock: Timestamp) -> (Lease, Lease) {
        let by_day = |moment: Moment| clock.minus(now.0.saturating_sub(moment.0));
        let settled = self.table.settled().map(|at| Settled { view: self.table.version(), at: by_day(at) });
        self.lease.renewal(now, clock.plus(self.terms.lease), settled)
    }

    /// What is known of the renewal.
    pub fn renewed(&mut self, outcome: &Swap) {
        self.lease.renewed(outcome);
    }

    /// Whether the lease holds.
    #[must_use]
    pub fn holds_lease(&self, now: Moment) -> bool {
        self.lease.held(now)
    }

    /// When the lease ends, unless it is renewed.
    #[must_use]
    pub const fn lease_until(&self) -> Moment {
        self.lease.until()
    }

    /// [`Lease::until`] of the renewal that counts. Who tells by its clock what came before others served takes nothing as of a later time.
    #[must_use]
    pub const fn serves_until(&self) -> Option<Timestamp> {
        self.lease.until_by_day()
    }

    /// What is known of when others served the slot last, where its last owner did not leave it.
    #[must_use]
    pub fn served_last(&self, slot: u16) -> Option<ServedLast> {
        self.table.served_last(slot, &self.terms)
    }

    /// When after `now` another member is to be judged, unless its counter has moved by then.
    #[must_use]
    pub fn judges_at(&self, now: Moment) -> Option<Moment> {
        let view = self.view.as_ref().filter(|_| !self.outside)?;
        self.watch.judges_at(view, &self.me.node, &self.terms, now)
    }

    /// Takes in view and leases as they were read, the view not before the renewal under way was sent.
    ///
    /// # Errors
    /// [`Ended`]: this life is over.
    pub fn observed(&mut self, view: Option<View>, leases: &[Lease], now: Moment) -> Result<Step, Ended> {
        if self.outside {
            let closes = view.map_or_else(|| Ok(Vec::new()), |view| self.learn(view, now))?;
            return Ok(Step { closes, ..Step::default() });
        }
        self.lease.seen(leases.iter().find(|lease| lease.node == self.me.node))?;
        self.watch.observe(leases, self.lease.held(now), now);
        let closes = match view {
            Some(view) => self.learn(view, now)?,
            None => Vec::new(),
        };
        if let Some(view) = &self.view {
            self.watch.keep(view, now);
        }
        self.lease.count(&self.terms);
        let (revokes, change) = self.plan(leases, now);
        Ok(Step { closes, revokes, change })
    }

    /// Takes in a view, as read or pushed: the slots that close.
    ///
    /// # Errors
    /// [`Ended`]: this life is over.
    pub fn learn(&mut self, view: View, now: Moment) -> Result<Vec<u16>, Ended> {
        let level = self.lease.row().level;
        if view.format > level {
            return Err(Ended::TooOld { format: view.format, level });
        }
        let Some(before) = self.view.as_ref() else { return Ok(self.apply(view, now)) };
        if view.version <= before.version {
            return Ok(Vec::new());
        }
        if !before.deal.nodes().is_subset(&view.deal.nodes()) {
            // Whoever seems dead beside those that went is judged anew.
            self.watch.restart(now);
        }
        Ok(self.apply(view, now))
    }

    fn apply(&mut self, view: View, now: Moment) -> Vec<u16> {
        let closes = self.table.apply(&view, &self.rings, &self.terms, now);
        let goes_on = self.view.as_ref().is_some_and(|before| plan::goes_on(before, &view));
        // A node that is started again and again does not hold up what others are to do.
        if !goes_on {
            self.applied = now;
        }
        self.view = Some(view);
        closes
    }

    fn plan(&self, leases: &[Lease], now: Moment) -> (Vec<(Lease, Lease)>, Option<View>) {
        let Some(view) = &self.view else { return (Vec::new(), Some(plan::first(&self.me, self.lease.row().level))) };
        // Who does not know whether it is alive itself judges nobody.
        if !self.lease.held(now) {
            return (Vec::new(), None);
        }
        let dead = self.watch.dead(view, &self.me.node, &self.terms, now);
        let revokes = dead.into_iter().map(|lease| (lease.clone(), Lease { revoked: true, ..lease })).collect();
        (revokes, self.change(view, leases, now))
    }

    fn change(&self, view: &View, leases: &[Lease], now: Moment) -> Option<View> {
        let gone = self.watch.gone(view, &self.me.node, &self.terms, now);
        if !gone.is_empty() {
            return Some(plan::without(view, &gone, &self.me, leases));
        }
        let followed = self.watch.followed(view, &self.me.node, &self.terms, now);
        if !followed.is_empty() {
            return Some(plan::replaced(view, followed));
        }
        let deal = &view.deal;
        if !self.is_member() {
            return match deal.members().into_iter().find(|member| member.node == self.me.node) {
                _ if self.leaves => None,
                Some(before) => (now >= self.alone_from).then(|| plan::replaced(view, vec![(self.me.clone(), self.table.earlier(before))])),
                None => plan::joined(view, &self.me),
            };
        }
        if self.leaves
            && let Some(next) = plan::leaving(view, &self.me)
        {
            return Some(next);
        }
        self.hand_over(view, now)
    }

    /// The next step of a hand-over, when it is time and this node's turn.
    fn hand_over(&self, view: &View, now: Moment) -> Option<View> {
        let done = view.deal.mark >= self.terms.slots;
        (self.steps_at()? <= now)
            .then(|| if done { plan::settled(view) } else { plan::advanced(view, self.table.dealt(), self.terms.step) })
    }

    /// When this member is to take the next step of a hand-over, if nobody does before; `None` while there is none.
    #[must_use]
    pub fn steps_at(&self) -> Option<Moment> {
        let deal = &self.view.as_ref()?.deal;
        if deal.from == deal.to {
            return None;
        }
        let done = deal.mark >= self.terms.slots;
        // Before: who joins knows by then that nobody else serves what it gets. After: who gave something away has applied that, or lost its lease.
        let pause = if deal.mark == 0 || done { self.terms.patience() } else { self.terms.pace };
        // One after the other, so that not all try at once.
        let place = deal.members().iter().position(|member| **member == self.me).and_then(|place| u32::try_from(place).ok())?;
        Some(self.applied + pause + self.terms.renew * place)
    }

    /// When this node is to look at the rows, if no news come before: to go on with a hand-over, to judge another one, or to take the place of its own earlier life.
    #[must_use]
    pub fn acts_at(&self, now: Moment) -> Option<Moment> {
        let follows = Some(self.alone_from).filter(|from| *from > now && self.table.is_later_life());
        self.steps_at().into_iter().chain(self.judges_at(now)).chain(follows).min()
    }

    /// The last turns of a slot that closed have ended: nothing of it is in memory any more.
    pub fn ended(&mut self, slot: u16) {
        self.table.ended(slot);
    }

    /// Opens what nobody else can serve any more.
    pub fn open_free(&mut self, now: Moment) -> Vec<u16> {
        self.table.open_free(now)
    }

    /// When the next of the node's slots opens, if nobody answers before.
    #[must_use]
    pub fn opens_by(&self) -> Option<Moment> {
        self.table.opens_by()
    }

    /// Who is to be asked whether it has released which slot.
    #[must_use]
    pub fn asks(&self) -> Vec<(Member, u16)> {
        self.table.asks()
    }

    /// What to say to a node that owns the slot under the view `version` and asks for it.
    #[must_use]
    pub fn asked(&self, slot: u16, version: u64) -> Answer {
        self.table.asked(slot, version)
    }

    /// Whether nobody can have served the slot since it was open here: what is known of it here is all that is known.
    #[must_use]
    pub fn tells(&self, slot: u16) -> bool {
        self.table.tells(slot)
    }

    /// The view that took the slot from its last owner, when that was `by`, if one is named; `None` when it is not known.
    #[must_use]
    pub fn taken_from(&self, slot: u16, by: Option<&Member>) -> Option<u64> {
        self.table.taken_from(slot, by)
    }

    /// A node has answered [`Answer::Released`] to a question under the view `version`.
    pub fn released(&mut self, slot: u16, by: &Member, version: u64) {
        self.table.released(slot, by, version);
    }

    /// Whether the slot is served here now: asked before a turn is admitted, before a commit is sent, and when an answer leaves its agent.
    #[must_use]
    pub fn serves(&self, slot: u16, now: Moment) -> bool {
        self.lease.held(now) && self.table.open(slot).is_some()
    }

    /// The view since which the slot is open here: what is in memory from before another time is worth nothing.
    #[must_use]
    pub fn open_since(&self, slot: u16) -> Option<u64> {
        self.table.open(slot)
    }

    /// The member that owns the slot.
    #[must_use]
    pub fn owner(&self, slot: u16) -> Option<&Member> {
        self.table.owner(slot)
    }

    /// Where a request goes that came over `hops` hops from a node that had applied the view `version`.
    #[must_use]
    pub fn route(&self, slot: u16, version: u64, hops: u8, now: Moment) -> Route {
        if version > self.version() {
            return Route::Refresh;
        }
        match self.table.owner(slot) {
            None => Route::Unavailable("the cell has no members"),
            Some(owner) if *owner != self.me && hops >= MOST_HOPS => Route::Unavailable("the agent is being moved"),
            Some(owner) if *owner != self.me => Route::Forward(owner.clone(), hops + 1),
            Some(_) if !self.lease.held(now) => Route::Unavailable("this node does not hold its lease"),
            Some(_) if self.table.open(slot).is_none() => Route::Hold,
            Some(_) => Route::Here,
        }
    }

    /// Between two renewals.
    #[must_use]
    pub const fn renews_every(&self) -> Duration {
        self.terms.renew
    }
}
