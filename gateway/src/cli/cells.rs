//! `cellspace admin move` and `rebalance`: the cells of an installation.

use super::{
    admin::{call, segment},
    args::{MoveArgs, PlatformArgs, RebalanceArgs},
    nodes::shown,
};
use anyhow::{Context, Result, bail, ensure};
use http::Method;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long a move may come no further: longer than a dead node holds its lease.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two moves, so that those who were answered "not now" are served before the next.
const PACE: Duration = Duration::from_millis(500);
/// Participants that are asked for at once.
const PAGE: usize = 1_000;

pub async fn move_to(args: &MoveArgs) -> Result<()> {
    moved(&args.platform, &args.participant, &args.to).await
}

async fn moved(platform: &PlatformArgs, participant: &str, to: &str) -> Result<()> {
    let mut patience = Patience::new(Instant::now());
    loop {
        let report = call(platform, Method::POST, &format!("/homes/{}/move?to={}", segment(participant), segment(to))).await?;
        if let Some(said) = ended(&report, participant, to)? {
            println!("{said}");
            return Ok(());
        }
        let waits = report["waits"].as_str().unwrap_or("it goes on");
        if patience.is_over(report["copying"].as_u64(), Instant::now()) {
            bail!("{participant} is not in cell {to} yet: {waits}; repeat this to go on");
        }
        eprintln!("{waits}");
    }
}

/// What is said of a move to this cell that has ended; `None` of one that goes on. Pure.
fn ended(report: &Value, participant: &str, to: &str) -> Result<Option<String>> {
    if report["done"] == true {
        return Ok(Some(format!("{participant} is in cell {to}")));
    }
    let Some(reason) = report["givenUp"].as_str() else { return Ok(None) };
    let cell = report["cell"].as_str().unwrap_or_default();
    ensure!(cell == to, "{participant} stays in cell {cell}: {reason}");
    Ok(Some(format!("{participant} stays in cell {to}, and its move is given up")))
}

/// Whether a move comes further. Pure.
struct Patience {
    copied: Option<u64>,
    since: Instant,
}

impl Patience {
    const fn new(now: Instant) -> Self {
        Self { copied: None, since: now }
    }

    /// It has not, for too long. It has when rows were looked at since, be it for another copy that was begun anew; of a cell that is away nothing is known.
    fn is_over(&mut self, copied: Option<u64>, now: Instant) -> bool {
        let copied = copied.filter(|copied| *copied > 0);
        if copied.is_some() && copied != self.copied {
            (self.copied, self.since) = (copied, now);
        }
        now.duration_since(self.since) > PATIENCE
    }
}

/// What is to be moved is found anew each time, so that it may be ended and begun again.
pub async fn rebalance(args: &RebalanceArgs) -> Result<()> {
    let RebalanceArgs { platform, dry_run } = args;
    let cells = call(platform, Method::GET, "/cells").await?;
    let cells = cells.as_array().context("the platform's cells cannot be read")?;
    if cells.len() < 2 {
        let nodes = call(platform, Method::GET, "/nodes").await?;
        if nodes.as_array().is_some_and(|nodes| !nodes.is_empty()) {
            println!("this installation has one cell, whose slots are dealt over its nodes by themselves:");
        }
        print!("{}", shown(&nodes));
        return Ok(());
    }
    let mut nodes = BTreeMap::new();
    for cell in cells {
        let name = cell["cell"].as_str().context("a cell has no name")?.to_owned();
        let count = cell["nodes"].as_u64().with_context(|| format!("the nodes of cell {name} are not known yet"))?;
        nodes.insert(name, usize::try_from(count)?);
    }
    let moves = plan(&nodes, homes(platform).await?);
    for (participant, from, to) in &moves {
        if *dry_run {
            println!("{participant}: {from} -> {to}");
        } else {
            moved(platform, participant, to).await?;
            tokio::time::sleep(PACE).await;
        }
    }
    println!("participants {}: {}", if *dry_run { "to be moved" } else { "moved" }, moves.len());
    Ok(())
}

/// The participants of each cell, in the order in which they came.
async fn homes(platform: &PlatformArgs) -> Result<BTreeMap<String, Vec<String>>> {
    let (mut all, mut offset): (BTreeMap<String, Vec<String>>, _) = (BTreeMap::new(), 0);
    loop {
        let page = call(platform, Method::GET, &format!("/homes?offset={offset}&limit={PAGE}")).await?;
        let page = page.as_array().context("the platform's participants cannot be read")?;
        for home in page {
            let field = |name: &str| home[name].as_str().map(str::to_owned).context("a participant cannot be read");
            all.entry(field("cell")?).or_default().push(field("participant")?);
        }
        if page.len() < PAGE {
            return Ok(all);
        }
        offset += PAGE;
    }
}

/// A participant, the cell that has it, and the one that is to have it.
type Move = (String, String, String);

/// As few moves as bring each cell to its share: all participants by the number of its nodes, rounded down, and one more where most is missing. The youngest go.
fn plan(nodes: &BTreeMap<String, usize>, mut homes: BTreeMap<String, Vec<String>>) -> Vec<Move> {
    let total: usize = homes.values().map(Vec::len).sum();
    let all: usize = nodes.values().sum();
    if all == 0 {
        return Vec::new();
    }
    let mut shares: BTreeMap<&String, usize> = nodes.iter().map(|(cell, nodes)| (cell, total * nodes / all)).collect();
    let mut by_rest: Vec<_> = nodes.iter().filter(|(_, nodes)| **nodes > 0).collect();
    // Of those of which as much is missing, one that has more keeps it.
    by_rest
        .sort_by_key(|(cell, nodes)| (std::cmp::Reverse(total * **nodes % all), std::cmp::Reverse(homes.get(*cell).map_or(0, Vec::len))));
    let rest = total - shares.values().sum::<usize>();
    for (cell, _) in by_rest.into_iter().take(rest) {
        *shares.entry(cell).or_default() += 1;
    }
    let mut spare = Vec::new();
    for (cell, has) in &mut homes {
        let share = shares.get(cell).copied().unwrap_or(0);
        spare.extend(has.split_off(share.min(has.len())).into_iter().map(|participant| (participant, cell.clone())));
    }
    let mut spare = spare.into_iter();
    let mut moves = Vec::new();
    for (cell, share) in shares {
        let lacks = share.saturating_sub(homes.get(cell).map_or(0, Vec::len));
        moves.extend(spare.by_ref().take(lacks).map(|(participant, from)| (participant, from, cell.clone())));
    }
    moves
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(counts: &[(&str, usize, usize)]) -> (BTreeMap<String, usize>, BTreeMap<String, Vec<String>>) {
        let nodes = counts.iter().map(|(cell, nodes, _)| ((*cell).to_owned(), *nodes)).collect();
        let homes = counts.iter().map(|(cell, _, has)| ((*cell).to_owned(), (0..*has).map(|n| format!("{cell}{n}")).collect())).collect();
        (nodes, homes)
    }

    /// Whoever names the cell that has it wants a move given up, which is no failure.
    #[test]
    fn a_move_ends_where_it_was_to_go_or_in_an_error() {
        let report =
            |done, cell, given_up: Option<&str>| serde_json::json!({"done": done, "cell": cell, "waits": "w", "givenUp": given_up});
        let said = |report, to| ended(&report, "p", to).map_err(|error| error.to_string());
        assert_eq!(said(report(true, "b", None), "b"), Ok(Some("p is in cell b".to_owned())));
        assert_eq!(said(report(false, "a", None), "b"), Ok(None));
        assert_eq!(said(report(false, "a", Some("too long")), "b"), Err("p stays in cell a: too long".to_owned()));
        assert_eq!(
            said(report(false, "a", Some("it was to stay")), "a"),
            Ok(Some("p stays in cell a, and its move is given up".to_owned()))
        );
    }

    #[test]
    fn a_move_is_waited_for_as_long_as_it_comes_further() {
        let begin = Instant::now();
        for reports in [
            // What it waits for may be a lease.
            &[(20, None, false), (180, None, false), (181, None, true)][..],
            // A copy takes as long as it takes.
            &[(20, Some(5), false), (200, Some(6), false), (380, Some(7), false), (560, Some(7), false), (561, Some(7), true)],
            // What is not known of for a moment has not come further by that.
            &[(20, Some(5), false), (120, None, false), (190, Some(5), false), (200, None, false), (201, None, true)],
            &[(20, Some(5), false), (120, Some(0), false), (190, Some(5), false), (200, Some(0), false), (201, Some(5), true)],
            // Somebody else gave it up, and began anew.
            &[(20, Some(900), false), (200, Some(3), false), (380, Some(3), false), (381, Some(3), true)],
        ] {
            let mut patience = Patience::new(begin);
            for (at, copied, expected) in reports {
                assert_eq!(patience.is_over(*copied, begin + Duration::from_secs(*at)), *expected, "{at}: {reports:?}");
            }
        }
    }

    #[test]
    fn as_few_are_moved_as_bring_each_cell_to_its_share() {
        for (counts, expected) in [
            (&[("a", 3, 12), ("b", 3, 0)][..], &[6, 6][..]),
            (&[("a", 3, 12), ("b", 1, 0)], &[9, 3]),
            (&[("a", 1, 2), ("b", 1, 1)], &[2, 1]),
            (&[("a", 1, 1), ("b", 1, 2)], &[1, 2]),
            (&[("a", 2, 1), ("b", 1, 7), ("c", 1, 0)], &[4, 2, 2]),
            // One without nodes is left by all.
            (&[("a", 0, 5), ("b", 1, 0)], &[0, 5]),
            (&[("a", 0, 5), ("b", 0, 0)], &[5, 0]),
            (&[("a", 1, 0), ("b", 1, 0)], &[0, 0]),
        ] {
            let (nodes, homes) = cells(counts);
            let moves = plan(&nodes, homes.clone());
            let mut after: BTreeMap<_, _> = homes.iter().map(|(cell, has)| (cell.clone(), has.len())).collect();
            for (participant, from, to) in &moves {
                assert!(homes[from].contains(participant) && from != to);
                *after.get_mut(from).unwrap() -= 1;
                *after.get_mut(to).unwrap() += 1;
            }
            assert_eq!(after.values().copied().collect::<Vec<_>>(), expected, "{counts:?}");
            let least: usize = homes.values().zip(expected).map(|(has, share)| has.len().saturating_sub(*share)).sum();
            assert_eq!(moves.len(), least, "{counts:?}");
        }
    }
}
