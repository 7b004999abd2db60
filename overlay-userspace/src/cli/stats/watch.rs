//! `overlay stats --watch`.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use super::{Moment, Page, Stats};
use crate::{
    cli::{
        Session,
        listening::{Pipe, Signals},
        output::Format,
    },
    error::{Context as _, Result},
    instance::Instance,
    preflight,
    traffic::{Follower, Sample, Span},
};

/// How soon it is noticed that nobody reads any more.
const LOOK: Duration = Duration::from_millis(500);

impl Stats {
    /// Shows how fast it grows, until somebody ends that, or nobody listens any more.
    pub(super) async fn watch(self, session: &Session, every: Duration) -> Result<()> {
        preflight::capabilities()?;
        let mut signals = Signals::listen()?;
        let name = session.name()?;
        self.check(&Instance::watch(&name)?)?;
        let follower = Follower::open(&name)?;
        let mut pipe = Pipe::default();
        let mut before = follower.read().await?;
        let mut look = interval(LOOK);
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !pipe.is_closed() {
            tokio::select! {
                () = signals.asked() => break,
                _ = look.tick() => continue,
                _ = ticks.tick() => {}
            }
            let now = tokio::select! {
                () = signals.asked() => break,
                now = follower.read() => now?,
            };
            let page = self.page(&before, &now);
            pipe.line(match session.output.format() {
                Format::Table => page.table().render(),
                Format::Json => serde_json::to_string(&page).context(|| "cannot print JSON")?,
            })?;
            before = now;
        }
        Ok(())
    }

    fn page(self, before: &Sample, now: &Sample) -> Page {
        let moment = Moment {
            time: humantime::format_rfc3339_millis(now.time).to_string(),
            seconds: now.at.saturating_duration_since(before.at).as_secs_f64(),
        };
        Page { rows: self.of(Span { before: Some(before), now }), moment: Some(moment) }
    }
}
