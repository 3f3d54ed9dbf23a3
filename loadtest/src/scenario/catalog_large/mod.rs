//! A provider with a large catalog: how soon pages of it are answered, how soon changes show, what a commit costs, how soon it is back in memory, and how
//! little of that depends on its size.
//!
//! Every definition has one of few access policies, and selects by id, by a list of ids, by a property's value or by its beginning. A counterparty sees a fifth
//! or a tenth of what is offered. Two sizes that are compared have as many access policies, since each of them is judged in each request.

mod catalog;
mod figures;
mod model;
mod reader;
mod shape;

use super::{catalog::Dataspace, play};
use crate::{
    drive::{Outcome, Pace, drive},
    http::Connection,
    measure::{calibration::Sizes, counters::Counters},
    options::Common,
    report::Report,
    subject::Subject,
    world::{Party, World},
};
use anyhow::{Context, Result, ensure};
use catalog::Catalog;
use figures::{Spot, quantile_ms};
use model::Expected;
use rand::{SeedableRng, rngs::StdRng};
use reader::{PAGE, Reader};
use serde_json::json;
use shape::{Shape, Viewer};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// The catalog whose first page is read under load.
const USUAL: Shape = Shape { definitions: 10_000, policies: 200, end: true };
/// Access policies of the two that are compared: the smaller one has no room for more.
const COMPARED: usize = 100;
const SMALL: Shape = Shape { definitions: 100, policies: COMPARED, end: false };
/// Definitions of the largest: as many assets as a participant may have, but for the one that comes and goes.
const MOST: usize = 99_999;
/// Counterparties; a fourth of them are of each region.
const PARTIES: usize = 32;
/// Connections, when nothing else is asked for.
const CONNECTIONS: usize = 8;
/// How often it is started again.
const STARTS: usize = 3;
/// Processor time in a second that counts as none, and how long it is waited for.
const STILL: Duration = Duration::from_millis(30);
const STILLNESS: Duration = Duration::from_secs(60);

/// Waits until the platform has nothing to do of what came before.
async fn at_rest(subject: &Subject) -> Result<()> {
    let until = Instant::now() + STILLNESS;
    let mut before = subject.usage(&Counters::default())?.cpu;
    while Instant::now() < until {
        sleep(Duration::from_secs(1)).await;
        let cpu = subject.usage(&Counters::default())?.cpu;
        if cpu.saturating_sub(before) <= STILL {
            return Ok(());
        }
        before = cpu;
    }
    eprintln!("the platform does not come to rest");
    Ok(())
}

/// Reads the first page as a viewer's counterparties do.
fn readers(catalog: &Arc<Catalog>, parties: &[Arc<Party>], viewer: Viewer, subject: &Subject, common: &Common) -> Result<Vec<Reader>> {
    let expected: Arc<Vec<Expected>> = Arc::new(catalog.model.seen_by(viewer).into_iter().take(PAGE).collect());
    ensure!(expected.len() == PAGE, "the first page of a viewer has {} datasets", expected.len());
    let (parties, seed) = (Arc::new(catalog::parties(parties, viewer)), common.seed.unwrap_or_default());
    let reader = |n: usize| {
        let connection = Connection::new(&subject.public, subject.tape.clone())?;
        Ok(Reader::new(catalog, &parties, &expected, connection, StdRng::seed_from_u64(seed.wrapping_add(n as u64))))
    };
    (0..common.workers(CONNECTIONS)).map(reader).collect()
}

/// Where the pages in the middle and at the end begin, found by going through all of them, there and back.
async fn places<'a>(c: &mut Connection, party: &Party, catalog: &'a Catalog, datasets: usize) -> Result<Vec<Spot<'a>>> {
    let seen = catalog.model.seen_by(Viewer::Everywhere);
    ensure!(catalog.walk(c, party, &seen, seen.len()).await?.is_none(), "a page is said to follow the last one");
    let (middle, last) = ((seen.len() - datasets) / 2, seen.len() - datasets);
    let mut spots = Vec::new();
    for begin in [0, middle, last] {
        let place = catalog.walk(c, party, &seen, begin).await?;
        let expected = seen.get(begin..begin + datasets).context("no such page")?.to_vec();
        spots.push(Spot { catalog, place, expected, times: Vec::new() });
    }
    let back = spots.last().context("a page")?.place.clone();
    catalog.walk_back(c, party, &seen, &back, last).await?;
    Ok(spots)
}

/// A figure to three places.
fn rounded(value: f64) -> serde_json::Value {
    json!((value * 1_000.0).round() / 1_000.0)
}

type Figures = BTreeMap<String, serde_json::Value>;

/// Pages at all places of all sizes, and how those of the largest compare with those of the smallest.
async fn pages(subject: &Subject, party: &Party, catalogs: &[&Catalog], figures: &mut Figures) -> Result<()> {
    let mut public = Connection::new(&subject.public, subject.tape.clone())?;
    // A fifth of what is visible of the smallest.
    let smallest = catalogs.first().context("a catalog")?;
    let datasets = smallest.model.seen_by(Viewer::Everywhere).len() / 5;
    let mut spots = Vec::new();
    for catalog in catalogs {
        spots.extend(places(&mut public, party, catalog, datasets).await?);
    }
    eprintln!("reading pages of {datasets} datasets at all sizes, in turn");
    figures::pages(&mut public, party, &mut spots).await?;
    figures.insert("datasets_per_page".to_owned(), json!(datasets));
    let mut medians = Vec::new();
    for (spot, place) in spots.iter_mut().zip(["first", "middle", "last"].into_iter().cycle()) {
        let median = quantile_ms(&mut spot.times, 0.5);
        figures.insert(format!("{place}_page_ms_at_{}", spot.catalog.model.shape.definitions), rounded(median));
        medians.push(median);
    }
    for (n, place) in ["first", "middle", "last"].into_iter().enumerate() {
        if let (Some(small), Some(large)) = (medians.get(n), medians.get(medians.len() - 3 + n)) {
            figures.insert(format!("{place}_page_ratio"), rounded(large / small));
        }
    }
    Ok(())
}

/// Commits at both ends of the sizes, in turn.
async fn commits(subject: &Subject, small: &mut Catalog, large: &mut Catalog, figures: &mut Figures) -> Result<()> {
    eprintln!("committing at the smallest and the largest size, in turn");
    let sizes = [small.model.shape.definitions, large.model.shape.definitions];
    let mut found = figures::commits(subject, &mut [small, large]).await?;
    let mut both = Vec::new();
    for (commits, size) in found.iter_mut().zip(sizes) {
        let (time, cpu) = (quantile_ms(&mut commits.times, 0.5), commits.cpu_us());
        figures.insert(format!("commit_ms_at_{size}"), rounded(time));
        figures.insert(format!("commit_cpu_us_at_{size}"), rounded(cpu));
        both.push((time, cpu));
    }
    if let [small, large] = both.as_slice() {
        figures.insert("commit_ratio".to_owned(), rounded(large.0 / small.0));
        figures.insert("commit_cpu_ratio".to_owned(), rounded(large.1 / small.1));
    }
    Ok(())
}

/// How soon each is back in memory after a start, and that it is what it was.
async fn activations(subject: &mut Subject, party: &Party, catalogs: &[&Catalog], figures: &mut Figures) -> Result<()> {
    let mut times = vec![Vec::new(); catalogs.len()];
    for start in 1..=STARTS {
        eprintln!("starting again ({start} of {STARTS})");
        subject.restart().await?;
        at_rest(subject).await?;
        for (catalog, times) in catalogs.iter().zip(&mut times) {
            times.push(figures::activation(subject, catalog).await?);
        }
    }
    let mut public = Connection::new(&subject.public, None)?;
    for (catalog, mut times) in catalogs.iter().zip(times) {
        let seen = catalog.model.seen_by(Viewer::Everywhere);
        ensure!(catalog.walk(&mut public, party, &seen, seen.len()).await?.is_none(), "a page is said to follow the last one");
        figures.insert(format!("activation_ms_at_{}", catalog.model.shape.definitions), rounded(quantile_ms(&mut times, 0.5)));
    }
    Ok(())
}

/// Plays the scenario.
pub async fn run(largest: usize, common: &Common) -> Result<Report> {
    common.own("it is started again there")?;
    let (least, most) = (2 * SMALL.definitions, MOST);
    ensure!((least..=most).contains(&largest), "--definitions must be {least} to {most}");
    let mut subject = Subject::open(common, &[]).await?;
    let seed = common.seed.unwrap_or_default();
    let world = World::open(seed, PARTIES).await?;
    let space = Arc::new(Dataspace::open(&subject, &world).await?);
    let parties = (0..PARTIES).map(|number| world.party(number)).collect::<Result<Vec<_>>>()?;
    let providers = space.providers(&subject, 3, 0).await?;
    let shapes = [SMALL, USUAL, Shape { definitions: largest, policies: COMPARED, end: false }];
    let mut catalogs = Vec::new();
    for (provider, shape) in providers.iter().zip(shapes) {
        catalogs.push(Catalog::fill(&space, provider, &subject, shape).await?);
    }
    let [mut small, usual, mut large]: [Catalog; 3] = catalogs.try_into().map_err(|_| anyhow::anyhow!("three catalogs"))?;

    let usual = Arc::new(usual);
    let everywhere = readers(&usual, &parties, Viewer::Everywhere, &subject, common)?;
    let (everywhere, mut outcome, mut report) = play::window("catalog-large", &subject, common, everywhere, at_rest(&subject)).await?;
    drop(everywhere);
    let at_the_end = readers(&usual, &parties, Viewer::AtTheEnd, &subject, common)?;
    let (at_the_end, warm) = drive(at_the_end, Pace { time: play::WARM_UP, ..common.pace() }).await?;
    let (at_the_end, mut end) = drive(at_the_end, common.pace()).await?;
    end.blame(warm);
    drop(at_the_end);
    let mut figures = Figures::from([
        ("first_page_p95_ms".to_owned(), rounded(outcome.quantile_ms(0.95))),
        ("first_page_at_the_end_p95_ms".to_owned(), rounded(end.quantile_ms(0.95))),
    ]);
    add(&mut outcome, end);

    let mut usual = Arc::into_inner(usual).context("the catalog is still read")?;
    let party = catalog::parties(&parties, Viewer::Everywhere).into_iter().next().context("a party")?;
    let checked = async {
        let changes = figures::changes(&subject, &mut usual, &party, Viewer::Everywhere, PAGE).await?;
        figures.insert("changes_shown_by_the_next_page".to_owned(), json!(changes));
        at_rest(&subject).await?;
        pages(&subject, &party, &[&small, &usual, &large], &mut figures).await?;
        commits(&subject, &mut small, &mut large, &mut figures).await?;
        let put_off: u64 = [&small, &usual, &large].into_iter().map(Catalog::put_off).sum();
        ensure!(put_off == 0, "{put_off} pages were put off");
        activations(&mut subject, &party, &[&small, &usual, &large], &mut figures).await
    };
    let checked: Result<()> = checked.await;
    if let Err(wrong) = checked {
        outcome.wrong(format!("{wrong:#}"));
    }
    report.more.extend(figures);
    let call = usual.call(&party, &None, PAGE);
    let (request, token) = (call.body.len(), call.bearer.as_ref().map_or(0, String::len));
    let answer = Connection::new(&subject.public, None)?.send(call).await?.body.len();
    let sizes = Sizes { request, token, answer, connections: common.workers(CONNECTIONS) };
    play::conclude(report, outcome, &subject, common, sizes).await
}

/// Counts what went wrong in another window too.
fn add(outcome: &mut Outcome, other: Outcome) {
    outcome.shed += other.shed;
    other.told.iter().for_each(|wrong| outcome.told.push(format!("at the end: {wrong}")));
    outcome.errors += other.errors;
}
