//! Ratios of an earlier run, to notice when they get worse.
//!
//! Ratios are compared, not figures: those are of a machine and its load.

use std::{fmt, fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    cli::Plan,
    figure::{Better, Figure},
    live,
    peer::Peer,
    results::{Key, Results},
    setting::Outer,
};

/// How much worse a ratio may be where nothing else is said: short runs on a shared machine differ by that.
const MARGIN_PERCENT: u32 = 15;

/// The format of the file.
const VERSION: u32 = 1;

/// What the file holds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Baseline {
    version: u32,
    /// What tunnel packets were.
    outer: Outer,
    /// How much worse a ratio may be, in percent.
    margin_percent: u32,
    #[serde(rename = "ratio")]
    ratios: Vec<Ratio>,
}

/// A figure of a peer, divided by that of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ratio {
    setting: String,
    figure: String,
    peer: String,
    against: String,
    median: f64,
}

/// How a run compares with a baseline that it is not worse than.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// Ratios that were compared.
    pub(crate) compared: usize,
    /// Those that this run was not to measure.
    pub(crate) skipped: usize,
    /// The margin that was granted, in percent.
    pub(crate) margin_percent: u32,
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compared, skipped, margin_percent } = self;
        write!(
            f,
            "no ratio is worse by more than {margin_percent} % ({compared} compared, {skipped} not measured)"
        )
    }
}

impl Baseline {
    /// Of a run: all of our peers against the kernel's device and against the floor.
    pub(crate) fn of(plan: &Plan, results: &Results, margin_percent: Option<u32>) -> Self {
        let ratios = guarded(results).filter_map(|(key, against)| {
            let (setting, peer, figure) = key;
            let median = results.ratio(key, against)?.median;
            Some(Ratio {
                setting: setting.to_string(),
                figure: figure.to_string(),
                peer: peer.to_string(),
                against: against.to_string(),
                // Three digits say more than a repetition would confirm.
                median: (median * 1e3).round() / 1e3,
            })
        });
        Self {
            version: VERSION,
            outer: plan.outer,
            margin_percent: margin_percent.unwrap_or(MARGIN_PERCENT),
            ratios: ratios.collect(),
        }
    }

    /// Writes it to a file.
    ///
    /// # Errors
    ///
    /// When there is no ratio to write, or the file cannot be written.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        ensure!(!self.ratios.is_empty(), "no ratio was measured: there is no baseline to save");
        let text = toml::to_string(self).context("a baseline as TOML")?;
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Reads it from a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is no baseline.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no baseline", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let baseline: Self = toml::from_str(text).map_err(|error| {
            // Its own text is a drawing of several lines.
            anyhow::anyhow!("{}", error.message())
        })?;
        ensure!(baseline.version == VERSION, "it is of version {}", baseline.version);
        ensure!(
            baseline.ratios.iter().all(|ratio| ratio.median.is_finite() && ratio.median > 0.0),
            "a ratio is not positive"
        );
        Ok(baseline)
    }

    /// Whether there is something to compare in what a plan will measure.
    ///
    /// # Errors
    ///
    /// Why there is not.
    pub(crate) fn fits(&self, plan: &Plan) -> Result<()> {
        ensure!(self.outer == plan.outer, "the baseline is of tunnels over {}", self.outer);
        let is_measured = self.ratios.iter().any(|ratio| ratio.key(plan).is_some());
        ensure!(is_measured, "nothing of the baseline is to be measured");
        Ok(())
    }

    /// Compares a run with it; `margin_percent` counts before its own.
    ///
    /// # Errors
    ///
    /// When a ratio is worse by more than the margin, or should have been measured and was not, or there is nothing to
    /// compare.
    pub(crate) fn check(
        &self,
        plan: &Plan,
        results: &Results,
        margin_percent: Option<u32>,
    ) -> Result<Agreement> {
        self.fits(plan)?;
        let margin_percent = margin_percent.unwrap_or(self.margin_percent);
        let margin = f64::from(margin_percent) / 100.0;
        let (mut worse, mut compared) = (Vec::new(), 0);
        for ratio in &self.ratios {
            let Some((key, against)) = ratio.key(plan) else { continue };
            compared += 1;
            let Ratio { setting, figure, peer, median, .. } = ratio;
            let what = format!("{setting} {figure} of {peer} to {against}");
            match results.ratio(key, against).map(|ratio| ratio.median) {
                None => worse.push(format!("{what} was not measured")),
                Some(now) if is_worse(key.2.better(), now, *median, margin) => {
                    worse.push(format!("{what} is {now:.2}, was {median:.2}"));
                }
                Some(_) => {}
            }
        }
        if !worse.is_empty() {
            bail!("worse by more than {margin_percent} %: {}", worse.join("; "));
        }
        Ok(Agreement { compared, skipped: self.ratios.len() - compared, margin_percent })
    }
}

impl Ratio {
    /// What it is about, if the plan has it.
    fn key(&self, plan: &Plan) -> Option<(Key, Peer)> {
        let is_live = self.figure == Figure::LiveFrames.name();
        // Those on live frames are not chosen.
        let peers = if is_live && plan.live { &live::PEERS[..] } else { &plan.peers[..] };
        let settings = if is_live && plan.live { &[live::SETTING][..] } else { &plan.settings[..] };
        let peer = |name: &str| peers.iter().copied().find(|peer| peer.name() == name);
        let setting = settings.iter().copied().find(|setting| setting.to_string() == self.setting)?;
        let live = plan.live.then_some(Figure::LiveFrames);
        let mut figures = plan.probes.iter().flat_map(|probe| probe.figures().iter().copied()).chain(live);
        let figure = figures.find(|figure| figure.name() == self.figure)?;
        Some(((setting, peer(&self.peer)?, figure), peer(&self.against)?))
    }
}

fn is_worse(better: Better, now: f64, was: f64, margin: f64) -> bool {
    match better {
        Better::Higher => now < was * (1.0 - margin),
        Better::Lower => now > was * (1.0 + margin),
    }
}

/// Ratios to guard. Tails of latencies are left out: single events of the machine make them.
fn guarded(results: &Results) -> impl Iterator<Item = (Key, Peer)> {
    let tails = [Figure::RequestsP99, Figure::LoadedRequestsP99];
    results
        .keys()
        .filter(move |(_, peer, figure)| peer.is_ours() && !tails.contains(figure))
        .flat_map(|key| [(key, Peer::Kernel), (key, Peer::Floor)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{probe::Probe, setting::Setting};

    fn plan() -> Plan {
        Plan {
            settings: vec![Setting::Super],
            outer: Outer::Ipv4,
            peers: vec![Peer::Kernel, Peer::Floor, Peer::OURS],
            probes: vec![Probe::Tcp1, Probe::Rr],
            live: false,
            lines: false,
            cost: false,
            scale: false,
            rounds: 1,
            seconds: 1,
            quick: false,
        }
    }

    fn results(ours: f64, p50: f64) -> Results {
        let mut results = Results::default();
        for (peer, tcp, p50) in
            [(Peer::Kernel, 10.0, 10.0), (Peer::Floor, 20.0, 5.0), (Peer::OURS, ours, p50)]
        {
            results.add(Setting::Super, peer, 0, vec![(Figure::Tcp1, tcp), (Figure::RequestsP50, p50)]);
        }
        results
    }

    fn check(now: &Results, margin: Option<u32>) -> Result<Agreement> {
        Baseline::of(&plan(), &results(15.0, 6.0), None).check(&plan(), now, margin)
    }

    #[test]
    fn the_same_agrees_and_so_does_what_is_better() {
        let agreed = Agreement { compared: 4, skipped: 0, margin_percent: 15 };
        assert_eq!(check(&results(15.0, 6.0), None).unwrap(), agreed);
        assert_eq!(check(&results(19.0, 5.0), None).unwrap(), agreed);
        assert_eq!(check(&results(13.0, 6.8), None).unwrap(), agreed);
    }

    #[test]
    fn what_is_worse_past_the_margin_is_named() {
        let slower = check(&results(12.0, 6.0), None).unwrap_err().to_string();
        assert!(slower.contains("super tcp1 of ours-off to kernel is 1.20, was 1.50"), "{slower}");
        assert!(!slower.contains("rr-p50"), "{slower}");
        let later = check(&results(15.0, 7.0), None).unwrap_err().to_string();
        assert!(later.contains("super rr-p50 of ours-off to floor is 1.40, was 1.20"), "{later}");
        assert!(check(&results(12.0, 7.0), Some(25)).is_ok());
        assert!(check(&results(14.9, 6.0), Some(0)).is_err());
    }

    #[test]
    fn what_failed_is_not_passed_over_but_what_was_not_asked_for_is() {
        let mut missing = Results::default();
        missing.add(Setting::Super, Peer::Kernel, 0, vec![(Figure::Tcp1, 1.0)]);
        assert!(check(&missing, None).unwrap_err().to_string().contains("not measured"));
        let baseline = Baseline::of(&plan(), &results(15.0, 6.0), None);
        let only_tcp = Plan { probes: vec![Probe::Tcp1], ..plan() };
        let agreement = baseline.check(&only_tcp, &results(15.0, 99.0), None).unwrap();
        assert_eq!((agreement.compared, agreement.skipped), (2, 2));
        let over_ipv6 = Plan { outer: Outer::Ipv6, ..plan() };
        assert!(baseline.check(&over_ipv6, &results(15.0, 6.0), None).is_err());
        let nothing = Plan { settings: vec![Setting::Wire], ..plan() };
        assert!(baseline.check(&nothing, &results(15.0, 6.0), None).is_err());
    }

    #[test]
    fn a_file_says_the_same_again_and_nonsense_is_refused() {
        let baseline = Baseline::of(&plan(), &results(15.0, 6.0), Some(7));
        let text = toml::to_string(&baseline).unwrap();
        assert_eq!(Baseline::parse(&text).unwrap(), baseline);
        for (text, why) in [
            (text.replace("version = 1", "version = 2"), "of version 2"),
            (text.replace("1.5", "-1.5"), "not positive"),
            (text.replace("1.5", "nan"), "not positive"),
            (text.replace("median", "mean"), "unknown field"),
            (String::new(), "missing field"),
            ("\u{0}".to_owned(), ""),
        ] {
            let error = Baseline::parse(&text).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains('\n'), "{error}");
        }
    }
}
